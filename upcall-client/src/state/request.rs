//! What a client asks to hold, and what it gets.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use upcall_common::wire::{Access, Deny, LeaseId, LockKind, Means, Open, StateBegun, Terms, Who};

use crate::named::Named;

/// A file to open. Default: for reading, nothing denied, the lease id of all zeros, enforced, not waiting.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    pub(crate) target: Named,
    pub(crate) cookie: u64,
    access: Access,
    deny: Deny,
    lease_id: LeaseId,
    advisory_ok: bool,
    wait: bool,
}

impl OpenRequest {
    fn new(target: Named, cookie: u64) -> Self {
        let (access, deny) = (Access::Read, Deny::None);
        Self { target, cookie, access, deny, lease_id: LeaseId::default(), advisory_ok: false, wait: false }
    }

    /// The file at `path` on the storage host. `cookie` comes back in its notices.
    pub fn path(path: impl Into<PathBuf>, cookie: u64) -> Self {
        Self::new(Named::path(path.into()), cookie)
    }

    /// The file with a handle from `name_to_handle_at` on the storage host; `anchor` is an exported path
    /// on the same filesystem.
    pub fn handle(
        anchor: impl Into<PathBuf>,
        handle_type: i32,
        handle: impl Into<Vec<u8>>,
        cookie: u64,
    ) -> Self {
        Self::new(Named::handle(anchor.into(), handle_type, handle.into()), cookie)
    }

    /// An open file, passed over the Unix socket. It stays open until the open is closed, to be passed again
    /// after a reconnection.
    pub fn descriptor(file: impl Into<OwnedFd>, cookie: u64) -> Self {
        Self::new(Named::descriptor(file.into()), cookie)
    }

    /// What it is to be opened for. A write lease and write locks need writing, read ones reading.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// What the others may not: a share reservation.
    #[must_use]
    pub fn deny(self, deny: Deny) -> Self {
        Self { deny, ..self }
    }

    /// Opens under one lease id do not conflict with each other's leases.
    #[must_use]
    pub fn lease_id(self, lease_id: LeaseId) -> Self {
        Self { lease_id, ..self }
    }

    /// Be content when the kernel cannot hold local processes to what is denied, leased or locked.
    #[must_use]
    pub fn advisory_ok(self, advisory_ok: bool) -> Self {
        Self { advisory_ok, ..self }
    }

    /// When a lease is in the way, wait until it is returned or revoked.
    #[must_use]
    pub fn wait(self, wait: bool) -> Self {
        Self { wait, ..self }
    }

    /// Of what this open carries.
    pub(crate) fn terms(&self) -> Terms {
        Terms { advisory_ok: self.advisory_ok, ..Terms::default() }
    }

    pub(crate) fn set_modes(&mut self, access: Access, deny: Deny) {
        (self.access, self.deny) = (access, deny);
    }

    /// To what these modes and its own have in common, as far as an open can have that: every open has some access.
    pub(crate) fn narrow(&mut self, access: Access, deny: Deny) {
        self.access = match (self.access, access) {
            (Access::Both, one) | (one, Access::Both) => one,
            (one, _) => one,
        };
        self.deny = match (self.deny, deny) {
            (Deny::Both, one) | (one, Deny::Both) => one,
            (one, other) if one == other => one,
            _ => Deny::None,
        };
    }

    pub(crate) fn first(&self) -> Open {
        self.message(0, Terms { wait: self.wait, ..self.terms() })
    }

    /// `number`: what the daemon called it.
    pub(crate) fn reclaim(&self, number: u64) -> Open {
        self.message(number, Terms { reclaim: true, ..self.terms() })
    }

    fn message(&self, open: u64, terms: Terms) -> Open {
        let Self { target, cookie, access, deny, lease_id, .. } = self;
        let (cookie, lease_id, access, deny) = (*cookie, *lease_id, *access, *deny);
        Open { cookie, open, lease_id, access, deny, terms, target: target.target(0) }
    }
}

/// A range to lock. Default: not waiting.
#[derive(Clone, Copy, Debug)]
pub struct LockRequest {
    pub(crate) owner: u64,
    pub(crate) kind: LockKind,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) wait: bool,
}

impl LockRequest {
    /// In bytes; `length` 0: to the end of the file, however long it grows. Locks of one owner, a number of the
    /// client's choice, do not conflict.
    pub fn new(owner: u64, kind: LockKind, start: u64, length: u64) -> Self {
        Self { owner, kind, start, length, wait: false }
    }

    /// When something is in the way, wait until it is gone.
    #[must_use]
    pub fn wait(self, wait: bool) -> Self {
        Self { wait, ..self }
    }
}

/// Of a request that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<T> {
    Granted(T),
    /// A notice with this request tells the outcome: [`OpenGranted`](crate::StateNotice::OpenGranted) or
    /// [`LockGranted`](crate::StateNotice::LockGranted). It may be there to be read before this is.
    Waiting(u64),
}

/// An open that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Names the open for as long as the client exists, across reconnections.
    pub open: u64,
    /// The kernel does not hold local processes to it.
    pub advisory: bool,
}

/// A lease or a lock that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The kernel does not hold local processes to it.
    pub advisory: bool,
}

/// A lock that is in the way of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    pub kind: LockKind,
    pub start: u64,
    /// 0: to the end of the file.
    pub length: u64,
    pub who: Who,
}

/// What the daemon offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub means: Means,
    /// From a recall to the revocation.
    pub recall: Duration,
    /// How long what a client holds outlives its connection.
    pub grace: Duration,
    /// For how long only what was held before the daemon's restart can be had.
    pub reclaim: Duration,
}

impl Begun {
    pub(crate) fn of(answer: &StateBegun) -> Self {
        let StateBegun { means, recall_ms, grace_ms, reclaim_ms, .. } = *answer;
        let [recall, grace, reclaim] =
            [recall_ms, grace_ms, reclaim_ms].map(|millis| Duration::from_millis(millis.into()));
        Self { means, recall, grace, reclaim }
    }
}
