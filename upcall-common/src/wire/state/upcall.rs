//! What the daemon says unasked.

use super::record::{messages, record};
use super::{GrantFlags, Keep, LeaseId, LeaseKind, Who};
use crate::wire::Code;

messages! {
    pub enum StateUpcall {
        Recall(Recall),
        Revoked(Revoked),
        OpenGranted(OpenGranted),
        LockGranted(LockGranted),
        Contention(Contention),
    }
}

record! {
    /// Give the lease back.
    pub struct Recall {
        open: u64,
        cookie: u64,
        lease_id: LeaseId,
        held: LeaseKind,
        /// What may be kept.
        keep: Keep,
        /// From now to the revocation.
        deadline_ms: u32,
        who: Who,
    }
}

record! {
    /// The leases of an open are gone.
    pub struct Revoked {
        open: u64,
        cookie: u64,
        lease_id: LeaseId,
        kind: LeaseKind,
    }
}

record! {
    /// An OPEN that waited has been granted or refused.
    pub struct OpenGranted {
        request: u64,
        code: Code,
        flags: GrantFlags,
        open: u64,
        /// Of which it is an open.
        file: u64,
        text: String,
    }
}

record! {
    /// A LOCK that waited has been granted or refused.
    pub struct LockGranted {
        request: u64,
        code: Code,
        flags: GrantFlags,
        open: u64,
        owner: u64,
        text: String,
    }
}

record! {
    /// Somebody waits for a lock that is held.
    pub struct Contention {
        open: u64,
        cookie: u64,
        owner: u64,
        start: u64,
        /// As of [`Lock`](super::Lock).
        length: u64,
        who: Who,
    }
}
