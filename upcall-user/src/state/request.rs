//! What clients ask for.

use std::time::Instant;

use super::{
    Access, AskId, ClientId, Deny, InodeId, LeaseId, LeaseKind, LockKind, OpenId, Range, Refusal, RequestId,
};

#[derive(Clone, Copy, Debug)]
pub struct OpenRequest {
    pub inode: InodeId,
    /// The number of the export that it was found in.
    pub export: usize,
    /// Whether the client may have it open for writing, now or later.
    pub writable: bool,
    pub access: Access,
    pub deny: Deny,
    pub lease_id: LeaseId,
    /// Chosen by the client, returned with each upcall.
    pub cookie: u64,
    /// It had this open, of this number, before its connection, or the daemon, ended.
    pub reclaim: Option<OpenId>,
    /// It takes a deny mode to which the kernel cannot hold local processes.
    pub advisory_ok: bool,
    /// Where a lease is in the way, it is answered once that has been recalled.
    pub wait: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct ChangeRequest {
    pub open: OpenId,
    pub access: Access,
    pub deny: Deny,
}

#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest {
    pub open: OpenId,
    pub kind: LeaseKind,
    pub reclaim: bool,
    pub advisory_ok: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct LockRequest {
    pub open: OpenId,
    pub owner: u64,
    pub kind: LockKind,
    pub range: Range,
    /// Where another one's lock is in the way, it is answered once that has gone.
    pub wait: bool,
    pub reclaim: bool,
    pub advisory_ok: bool,
}

/// What a request got. Advisory: the kernel does not hold local processes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    Opened { open: OpenId, advisory: bool },
    Changed { advisory: bool },
    Leased { kind: LeaseKind, advisory: bool },
    Locked { advisory: bool },
}

/// Answered now, or by an [`super::Effect::Answer`] with that number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Now(Result<Granted, Refusal>),
    Later(RequestId),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Open(OpenRequest),
    Change(ChangeRequest),
    Lease(LeaseRequest),
    Lock(LockRequest),
}

/// A request while it is not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) client: ClientId,
    pub(super) inode: InodeId,
    pub(super) what: What,
    /// The kernel has no means for it, which the client accepts.
    pub(super) advisory: bool,
    pub(super) since: Instant,
    /// Of the kernel, for a lock.
    pub(super) ask: Option<AskId>,
    /// A lock that waits may have come to wait for itself.
    pub(super) recheck: bool,
}

impl Request {
    pub(super) const fn open(&self) -> Option<OpenId> {
        match self.what {
            What::Open(_) => None,
            What::Change(ChangeRequest { open, .. })
            | What::Lease(LeaseRequest { open, .. })
            | What::Lock(LockRequest { open, .. }) => Some(open),
        }
    }
}

/// What came of trying.
pub(super) enum Attempt {
    Done(Result<Granted, Refusal>),
    /// Something else has to happen first; the answer of the kernel to this request, too.
    Wait,
    /// The kernel has been asked for just this lock.
    Asked(AskId),
}

pub(super) const fn refused(refusal: Refusal) -> Attempt {
    Attempt::Done(Err(refusal))
}
