//! The locks that a client which has come back knows of: the others end once it has reclaimed all.

use std::{collections::BTreeMap, time::Instant};

use super::{
    InodeId, LockRequest, OpenId, Owner, Range, Table,
    open::Claim,
    ranges::{Lock, Ranges},
};

/// Of one client, since it came back.
#[derive(Debug, Default)]
pub(super) struct Claims {
    ranges: BTreeMap<InodeId, Ranges>,
    /// Ranges in all.
    len: usize,
    /// There were too many to remember: nothing counts as unknown.
    all: bool,
}

impl Claims {
    /// At most about as many as the client may have locks.
    fn add(&mut self, inode: InodeId, lock: Lock, most: usize) {
        let ranges = self.ranges.entry(inode).or_default();
        let before = ranges.len();
        ranges.lock(lock);
        self.len = self.len + ranges.len() - before;
        if self.len > most || self.all {
            *self = Self { all: true, ..Self::default() };
        }
    }

    /// Of a lock: what is claimed of it, and what is not.
    fn split(&self, inode: InodeId, lock: &Lock) -> (Vec<Lock>, Vec<Range>) {
        if self.all {
            return (vec![*lock], Vec::new());
        }
        let claimed = self.ranges.get(&inode).map(|ranges| ranges.own(lock.owner, lock.range));
        let claimed: Vec<Lock> = claimed.into_iter().flatten().copied().collect();
        let unclaimed = lock.range.gaps(claimed.iter().map(|claim| claim.range));
        (claimed, unclaimed)
    }
}

impl Table {
    /// Whatever a client asks for while it reclaims, it knows of.
    pub(super) fn claim_lock(&mut self, inode: InodeId, owner: Owner, lock: &LockRequest, now: Instant) {
        let LockRequest { range, kind, open, .. } = *lock;
        let most = self.settings.limits.client.locks;
        if self.claim(open) != Claim::Fresh
            && let Some(client) = self.clients.get_mut(&owner.client)
        {
            let lock = Lock { owner, range, kind, open, advisory: false, since: now };
            client.claims.add(inode, lock, most);
        }
    }

    /// What an open that was reclaimed has locked, as far as its client does not know of it.
    pub(super) fn drop_unclaimed_locks(&mut self, id: OpenId) {
        let Some(open) = self.opens.get(&id) else { return };
        let (client, inode) = (open.client, open.inode);
        for number in open.owners.keys().copied().collect::<Vec<_>>() {
            let owner = Owner { client, number };
            let ranges = self.inode(inode).map(|found| found.ranges.of(owner));
            let locks: Vec<Lock> =
                ranges.into_iter().flatten().filter(|lock| lock.open == id).copied().collect();
            let mut less = false;
            for lock in locks {
                self.work += 1;
                let Some(client) = self.clients.get(&client) else { return };
                let (claimed, unclaimed) = client.claims.split(inode, &lock);
                less |= !unclaimed.is_empty();
                unclaimed.into_iter().for_each(|range| self.free_range(inode, owner, range));
                for claim in claimed {
                    less |= self.weaken_to_claim(inode, &lock, &claim);
                }
            }
            if less {
                self.owner_changed(inode, owner);
                self.forget_owner(inode, owner);
            }
        }
    }

    /// A write lock of which the client knows as a read lock becomes that; whether it has.
    fn weaken_to_claim(&mut self, inode: InodeId, lock: &Lock, claim: &Lock) -> bool {
        let (owner, kind) = (lock.owner, claim.kind);
        let (Some(range), Some(found)) = (lock.range.intersection(claim.range), self.inode(inode)) else {
            return false;
        };
        if kind >= lock.kind {
            return false;
        }
        // What the kernel is being asked for is known by the answer.
        let mut asked: Vec<Range> = found.asking(owner, range).map(|ask| ask.range).collect();
        asked.sort();
        let weaker = range.gaps(asked.into_iter());
        for range in &weaker {
            self.set_lock(inode, Lock { range: *range, kind, ..*lock });
            self.effects.push(super::Effect::SetRange { inode, owner, range: *range, kind: Some(kind) });
        }
        !weaker.is_empty()
    }
}
