//! What is to be done after a call, in this order.

use std::time::Instant;

use super::{
    AskId, ClientId, Connection, Deny, Granted, InodeId, Keep, LeaseId, LeaseKind, LockKind, OpenId, Owner,
    Range, Refusal, RequestId, Who,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    // To clients; only to those that are connected.
    /// To a request that was to be answered later; one each, unless the connection is over.
    Answer {
        client: ClientId,
        request: RequestId,
        answer: Result<Granted, Refusal>,
    },
    /// Give it back by the deadline, down to `keep`; one for each open that carries it. Sent again if less may be kept
    /// than before, and for each open whose lease its client reclaims.
    Recall {
        client: ClientId,
        open: OpenId,
        cookie: u64,
        lease_id: LeaseId,
        held: LeaseKind,
        keep: Keep,
        deadline: Instant,
        who: Who,
    },
    /// All that was held under this id, of which `kind` is the strongest, is gone; one for each open that carried it.
    /// Of clients that are not connected, too: operators are to know.
    Revoked {
        client: ClientId,
        open: OpenId,
        cookie: u64,
        lease_id: LeaseId,
        kind: LeaseKind,
    },
    /// Somebody would like to lock what this owner has locked.
    Contention {
        client: ClientId,
        open: OpenId,
        cookie: u64,
        owner: u64,
        range: Range,
        who: Who,
    },
    /// Another connection has taken over.
    Disconnect {
        connection: Connection,
    },

    // For operators.
    /// An open ends, with all that it carries: it was not reclaimed.
    Lapsed {
        client: Who,
        open: OpenId,
        inode: InodeId,
    },

    // To the kernel. Those with an `ask` are answered through `Table::answered`, each once. Those without one only ever
    // give up something, and cannot fail as long as the table's view is true.
    /// Hold the inode by a lease of this kind, instead of a weaker one if there is one.
    AskLease {
        ask: AskId,
        inode: InodeId,
        kind: LeaseKind,
        /// That is to carry it.
        open: OpenId,
    },
    /// Weaken the lease to this. If the kernel does not let it: `Table::lease_lost`.
    SetLease {
        inode: InodeId,
        kind: Option<LeaseKind>,
    },
    /// Keep local processes from these; they are more than until now.
    AskDeny {
        ask: AskId,
        inode: InodeId,
        deny: Deny,
        client: ClientId,
    },
    SetDeny {
        inode: InodeId,
        deny: Deny,
    },
    /// Lock for this owner, waiting for local processes if so asked.
    AskRange {
        ask: AskId,
        inode: InodeId,
        owner: Owner,
        range: Range,
        kind: LockKind,
        wait: bool,
    },
    /// Wait no longer; the ask is answered all the same, `Held` if it was too late.
    CancelRange {
        ask: AskId,
    },
    /// Weaken what this owner has locked there.
    SetRange {
        inode: InodeId,
        owner: Owner,
        range: Range,
        kind: Option<LockKind>,
    },
    /// This owner has nothing left there.
    ForgetOwner {
        inode: InodeId,
        owner: Owner,
    },
    /// Nothing is left of it: it may be closed.
    Forget {
        inode: InodeId,
    },
}

/// What the kernel said to an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    Held,
    /// A lease that can be given up, but not weakened.
    HeldWhole,
    /// Somebody on this host has it open or locked.
    Refused(Who),
    /// It has no means for it.
    Unsupported,
    /// After [`Effect::CancelRange`].
    Cancelled,
}
