//! What the lists are of.

use std::time::Instant;

use super::super::super::{open::Claim, request::What, *};

pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) identity: Identity,
    pub(super) connection: Option<Connection>,
    /// Bytes of locks that it has asked for of opens of an earlier connection; none: too many.
    pub(super) claims: Option<Vec<Byte>>,
}

pub(super) struct Open {
    pub(super) id: OpenId,
    pub(super) holder: Holder,
    pub(super) wish: OpenRequest,
    pub(super) claim: Claim,
    pub(super) until: Option<Instant>,
    pub(super) connection: Connection,
    pub(super) grants: Vec<Grant>,
    pub(super) had: Vec<LeaseKind>,
}

pub(super) struct Grant {
    pub(super) kind: LeaseKind,
    /// Since its open was reclaimed.
    pub(super) claimed: bool,
}

pub(super) struct Recall {
    pub(super) inode: InodeId,
    pub(super) holder: Holder,
    pub(super) keep: Keep,
    pub(super) deadline: Instant,
    pub(super) extended: bool,
}

/// One byte of a lock.
#[derive(Clone, Copy)]
pub(super) struct Byte {
    pub(super) inode: InodeId,
    pub(super) owner: Owner,
    pub(super) at: u64,
    pub(super) kind: LockKind,
    pub(super) open: OpenId,
    pub(super) advisory: bool,
}

#[derive(Clone)]
pub(super) struct Request {
    pub(super) id: RequestId,
    pub(super) client: ClientId,
    pub(super) inode: InodeId,
    pub(super) what: What,
    pub(super) advisory: bool,
    /// Its owner has given something up since it was looked at.
    pub(super) recheck: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Asked {
    Lease(LeaseKind),
    Deny(Deny),
    Range(Owner, Range, LockKind),
}

pub(super) struct Ask {
    pub(super) id: AskId,
    pub(super) inode: InodeId,
    pub(super) asked: Asked,
    pub(super) request: Option<RequestId>,
}

pub(super) struct File {
    pub(super) id: InodeId,
    pub(super) held: Option<LeaseKind>,
    pub(super) denied: Deny,
    pub(super) breaking: Option<Keep>,
}
