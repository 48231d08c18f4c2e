//! What a client asks for.

use super::record::{messages, record};
use super::{Access, Deny, Identity, Keep, LeaseId, LeaseKind, LockKind, Terms};
use crate::wire::Target;

messages! {
    pub enum StateRequest {
        StateBegin(StateBegin),
        StateReclaimed(()),
        Open(Open),
        OpenChange(OpenChange),
        Close(Close),
        Lease(Lease),
        Return(Return),
        Extend(Extend),
        Lock(Lock),
        Unlock(Unlock),
        LockTest(LockTest),
        Cancel(Cancel),
        StateQuery(StateQuery),
    }
}

record! {
    pub struct StateBegin {
        identity: Identity,
    }
}

record! {
    pub struct Open {
        /// Comes back in each upcall of this open.
        cookie: u64,
        /// Of a reclaim: the number that the open had.
        open: u64,
        lease_id: LeaseId,
        access: Access,
        deny: Deny,
        terms: Terms,
        target: Target,
    }
}

record! {
    pub struct OpenChange {
        open: u64,
        access: Access,
        deny: Deny,
    }
}

record! {
    pub struct Close {
        open: u64,
    }
}

record! {
    pub struct Lease {
        open: u64,
        kind: LeaseKind,
        terms: Terms,
    }
}

record! {
    pub struct Return {
        open: u64,
        /// What is given up.
        kind: LeaseKind,
        keep: Keep,
    }
}

record! {
    pub struct Extend {
        open: u64,
    }
}

record! {
    pub struct Lock {
        open: u64,
        /// Chosen by the client.
        owner: u64,
        start: u64,
        /// 0: to the end of the file, however long it grows.
        length: u64,
        kind: LockKind,
        terms: Terms,
    }
}

record! {
    pub struct Unlock {
        open: u64,
        owner: u64,
        start: u64,
        /// As of [`Lock`].
        length: u64,
    }
}

record! {
    pub struct LockTest {
        open: u64,
        owner: u64,
        start: u64,
        /// As of [`Lock`].
        length: u64,
        kind: LockKind,
    }
}

record! {
    pub struct Cancel {
        /// As OPENED or LOCKED gave it.
        request: u64,
    }
}

record! {
    pub struct StateQuery {
        /// `None`: everything.
        target: Option<Target>,
    }
}
