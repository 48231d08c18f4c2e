//! What is to happen when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{ClientId, Connection, Holder, InodeId, Owner};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The lease is revoked.
    Recall(InodeId, Holder),
    /// What the client has of that connection still, which was not reclaimed, is closed.
    Claim(ClientId, Connection),
    /// What the client has not claimed of its opens that it has reclaimed ends.
    Reclaimed(ClientId),
    /// The client may have leases of the inode again.
    Backoff(InodeId, ClientId),
    /// The owner may be told of contention again.
    Contention(InodeId, Owner),
    /// What waits there is tried: after whatever else is due.
    Settle(InodeId),
}

#[derive(Debug, Default)]
pub(super) struct Schedule {
    times: BTreeMap<Due, Instant>,
    order: BTreeSet<(Instant, Due)>,
}

impl Schedule {
    pub(super) fn set(&mut self, due: Due, at: Instant) {
        self.remove(due);
        self.times.insert(due, at);
        self.order.insert((at, due));
    }

    pub(super) fn remove(&mut self, due: Due) {
        if let Some(at) = self.times.remove(&due) {
            self.order.remove(&(at, due));
        }
    }

    pub(super) fn at(&self, due: Due) -> Option<Instant> {
        self.times.get(&due).copied()
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, Due)> {
        let &(at, due) = self.order.first().filter(|(at, _)| *at <= now)?;
        self.remove(due);
        Some((at, due))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}
