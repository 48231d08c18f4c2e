//! A client's open of one inode.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Access, ClientId, Connection, Deny, Holder, InodeId, LeaseId, LeaseKind, RequestId, lease::Grants,
};

#[derive(Debug)]
pub(super) struct Open {
    pub(super) client: ClientId,
    pub(super) inode: InodeId,
    pub(super) export: usize,
    /// Whether its access may be widened to writing.
    pub(super) writable: bool,
    pub(super) access: Access,
    pub(super) deny: Deny,
    pub(super) lease_id: LeaseId,
    pub(super) cookie: u64,
    pub(super) advisory_ok: bool,
    /// What it carries of its holder's lease.
    pub(super) grants: Grants,
    /// What of that has been claimed since the open was reclaimed.
    pub(super) claimed: Grants,
    /// Whether it ever carried them.
    pub(super) had_read: bool,
    pub(super) had_write: bool,
    /// Owners of locks that end with it, and how many each has.
    pub(super) owners: BTreeMap<u64, usize>,
    /// Those for it that are not answered.
    pub(super) requests: BTreeSet<RequestId>,
    /// Over which its client has it, or had.
    pub(super) connection: Connection,
    pub(super) since: Instant,
    /// Since when it carries a lease; of use while it does.
    pub(super) leased: Instant,
}

/// Whether the client still wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Of the client's present connection.
    Fresh,
    /// Of an earlier one; closed unless it is reclaimed in time.
    Awaited,
    /// Reclaimed; what it carries is being claimed.
    Reclaimed,
}

impl Open {
    pub(super) const fn holder(&self) -> Holder {
        Holder { client: self.client, lease_id: self.lease_id }
    }

    /// The owner has fewer locks, or more, that end with it.
    pub(super) fn count_locks(&mut self, owner: u64, before: usize, now: usize) {
        let count = (self.owners.get(&owner).copied().unwrap_or_default() + now).saturating_sub(before);
        if count == 0 {
            self.owners.remove(&owner);
        } else {
            self.owners.insert(owner, count);
        }
    }

    pub(super) const fn had(&self, kind: LeaseKind) -> bool {
        match kind {
            LeaseKind::Read => self.had_read,
            LeaseKind::Write => self.had_write,
        }
    }
}
