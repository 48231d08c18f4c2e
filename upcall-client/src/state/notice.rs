//! What a client is told unasked of what it holds.

use std::time::Duration;

use upcall_common::wire::{Keep, LeaseId, LeaseKind, LockKind, Who};

use super::{Held, Opened};
use crate::ItemError;

/// What a client is told unasked of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateNotice {
    /// Write back what is cached, then [`give_back`](crate::StateClient::give_back) within the time of `deadline`, which
    /// began when the daemon said so. `keep` is what may be kept, `who` is in the way.
    Recall {
        cookie: u64,
        open: u64,
        lease_id: LeaseId,
        held: LeaseKind,
        keep: Keep,
        deadline: Duration,
        who: Who,
    },
    /// The leases of this open are gone: drop what is cached.
    Revoked { cookie: u64, open: u64, lease_id: LeaseId, kind: LeaseKind },
    /// How an open that waited has ended. With the connection it ends as `released`.
    OpenGranted { cookie: u64, request: u64, outcome: Result<Opened, ItemError> },
    /// How a lock that waited has ended. With the connection it ends as `released`.
    LockGranted { cookie: u64, request: u64, open: u64, owner: u64, outcome: Result<Held, ItemError> },
    /// Somebody waits for a lock that `owner` holds.
    Contention { cookie: u64, open: u64, owner: u64, start: u64, length: u64, who: Who },
    /// After a reconnection: this open could not be reclaimed, nor its leases and locks.
    OpenLost { cookie: u64, open: u64, error: ItemError },
    /// After a reconnection: this lease could not be reclaimed. Drop what is cached.
    LeaseLost { cookie: u64, open: u64, kind: LeaseKind, error: ItemError },
    /// After a reconnection: this lock could not be reclaimed.
    LockLost { cookie: u64, open: u64, owner: u64, kind: LockKind, start: u64, length: u64, error: ItemError },
}
