//! Who waits for whom among owners of locks.

use std::collections::BTreeSet;

use super::{InodeId, LockKind, Owner, Range, Refusal, RequestId, Table, inode::Inode, request::What};

impl Table {
    /// In whose way a lock is, for a request with that number: of those who hold it, for whom the kernel is asked, and who
    /// have waited longer. One who waits for this very owner is not waited for.
    pub(super) fn blockers(
        &self,
        inode: InodeId,
        owner: Owner,
        range: Range,
        kind: LockKind,
        id: RequestId,
    ) -> impl Iterator<Item = Owner> {
        self.inode(inode).into_iter().flat_map(move |found| {
            let held = found.ranges.conflicts(owner, range, kind).map(|lock| lock.owner);
            let asked = found.asks.iter().filter(move |((by, _), ask)| {
                *by != owner && ask.range.overlaps(range) && ask.kind.conflicts(kind)
            });
            let earlier = found.blocked.range(..id).filter_map(move |earlier| {
                let (by, wanted, wanted_kind) = self.wanted(*earlier)?;
                let behind = by != owner
                    && wanted.overlaps(range)
                    && wanted_kind.conflicts(kind)
                    && !holds_up(found, owner, wanted, wanted_kind);
                behind.then_some(by)
            });
            held.chain(asked.map(|((by, _), _)| *by)).chain(earlier)
        })
    }

    fn wanted(&self, request: RequestId) -> Option<(Owner, Range, LockKind)> {
        let request = self.requests.get(&request)?;
        let What::Lock(lock) = request.what else { return None };
        Some((Owner { client: request.client, number: lock.owner }, lock.range, lock.kind))
    }

    /// Refuses a request if one for whom it would wait waits, in the end, for its owner; or if that takes too long to find
    /// out.
    pub(super) fn look_for_ring(
        &self,
        inode: InodeId,
        owner: Owner,
        range: Range,
        kind: LockKind,
        id: RequestId,
    ) -> Result<(), Refusal> {
        let mut left = self.settings.limits.search;
        let (mut seen, mut ahead) = (BTreeSet::new(), Vec::new());
        let mut look = |ahead: &mut Vec<Owner>, blockers: &mut dyn Iterator<Item = Owner>| {
            for blocker in blockers {
                left = left.checked_sub(1).ok_or(Refusal::TooManyWaiting)?;
                if blocker == owner {
                    return Err(Refusal::Deadlock);
                }
                if seen.insert(blocker) {
                    ahead.push(blocker);
                }
            }
            Ok(())
        };
        look(&mut ahead, &mut self.blockers(inode, owner, range, kind, id))?;
        while let Some(next) = ahead.pop() {
            for (inode, id, range, kind) in self.blocked_requests(next) {
                look(&mut ahead, &mut self.blockers(inode, next, range, kind, id))?;
            }
        }
        Ok(())
    }

    fn blocked_requests(&self, owner: Owner) -> impl Iterator<Item = (InodeId, RequestId, Range, LockKind)> {
        self.blocked(owner).filter_map(move |id| {
            let request = self.requests.get(&id)?;
            // One that is yet to be looked at again finds its own ring; refused for it, it holds up nobody.
            let inode = (!request.recheck).then_some(request.inode)?;
            let (_, range, kind) = self.wanted(id)?;
            // One that takes its turn after an ask is looked at then.
            let in_turn = self.inode(inode)?.is_asking(owner, range);
            (!in_turn).then_some((inode, id, range, kind))
        })
    }

    fn blocked(&self, owner: Owner) -> impl Iterator<Item = RequestId> {
        let client = self.clients.get(&owner.client);
        let (first, last) = ((owner.number, RequestId(0)), (owner.number, RequestId(u64::MAX)));
        client.into_iter().flat_map(move |it| it.blocked.range(first..=last)).map(|(_, id)| *id)
    }

    /// The owner has, or is asked for, less than before: its own requests may now be behind some that they were not.
    pub(super) fn owner_changed(&mut self, inode: InodeId, owner: Owner) {
        for id in self.blocked(owner).collect::<Vec<_>>() {
            if let Some(request) = self.requests.get_mut(&id)
                && request.inode == inode
            {
                request.recheck = true;
            }
        }
    }
}

/// Whether a request for that waits for this owner.
fn holds_up(inode: &Inode, owner: Owner, range: Range, kind: LockKind) -> bool {
    inode.ranges.in_the_way(owner, range, kind).is_some()
        || inode.asking(owner, range).any(|ask| ask.kind.conflicts(kind))
}
