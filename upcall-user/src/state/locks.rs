//! Byte-range locks.

use std::{collections::BTreeSet, time::Instant};

use super::{
    AskId, ClientId, Effect, Granted, InodeId, LockKind, LockRequest, OpenId, Owner, Range, Refusal, Reply,
    RequestId, Table, Who,
    inode::{Inode, RangeAsk},
    open::Claim,
    ranges::Lock,
    request::{Attempt, Request, What, refused},
    schedule::Due,
};

impl Table {
    /// Locks a range, as POSIX does: what the owner had of it becomes this. A request that overlaps an earlier one of the
    /// same owner for which the kernel has been asked is taken after that; one that may not wait is refused where that one
    /// waits for a local process.
    ///
    /// # Errors
    /// `NotOpen`, `Grace`, `NoReclaim`, `NotCarried`, `TooManyLocks`, `TooManyWaiting`, `Conflict`, `Deadlock`,
    /// `LocalConflict`, `Unsupported`; later also `Cancelled`, `Released`.
    pub fn lock(&mut self, client: ClientId, request: LockRequest, now: Instant) -> Reply {
        self.expire(now);
        let owner = Owner { client, number: request.owner };
        let admitted = self.admit_lock(client, &request);
        if let Ok((inode, _)) = admitted {
            self.claim_lock(inode, owner, &request, now);
        }
        match admitted {
            Ok((inode, None)) => self.submit(client, inode, What::Lock(request), now),
            Ok((inode, Some(granted))) => {
                self.carry(inode, owner, &request);
                Reply::Now(Ok(granted))
            }
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    /// The inode, and what the owner has if it reclaims that.
    fn admit_lock(
        &self,
        client: ClientId,
        request: &LockRequest,
    ) -> Result<(InodeId, Option<Granted>), Refusal> {
        let open = self.open_of(client, request.open)?;
        if !request.reclaim {
            return if self.in_grace() { Err(Refusal::Grace) } else { Ok((open.inode, None)) };
        }
        let owner = Owner { client, number: request.owner };
        let ranges = self.inode(open.inode).map(|found| &found.ranges);
        // What ends with an open that nobody has reclaimed yet is not kept.
        let stays = |lock: &Lock| self.claim(lock.open) != Claim::Awaited;
        let kept = ranges.filter(|ranges| {
            ranges.covers(owner, request.range, request.kind) && ranges.own(owner, request.range).all(stays)
        });
        match kept {
            Some(kept) => {
                let advisory = kept.is_advisory(owner, request.range);
                Ok((open.inode, Some(Granted::Locked { advisory })))
            }
            None if self.in_grace() => Ok((open.inode, None)),
            None => Err(Refusal::NoReclaim),
        }
    }

    /// Unlocks whatever the owner has locked there, under any of its opens.
    ///
    /// # Errors
    /// `NotOpen`; `TooManyLocks` where it would leave one range more than there may be.
    pub fn unlock(
        &mut self,
        client: ClientId,
        open: OpenId,
        owner: u64,
        range: Range,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.expire(now);
        let inode = self.open_of(client, open)?.inode;
        let owner = Owner { client, number: owner };
        let limits = self.settings.limits;
        let locks = self.clients.get(&client).map_or(0, |it| it.locks);
        let Some(found) = self.inode(inode) else { return Ok(()) };
        let full = locks >= limits.client.locks || found.ranges.len() >= limits.inode.locks;
        if full && found.ranges.splits(owner, range) {
            return Err(Refusal::TooManyLocks);
        }
        if found.ranges.own(owner, range).next().is_some() {
            self.free_range(inode, owner, range);
            self.owner_changed(inode, owner);
            self.forget_owner(inode, owner);
            self.settle(inode, now);
        }
        Ok(())
    }

    /// The first lock of another client's owner that would be in the way, and whose it is. Local processes' are the
    /// kernel's to tell.
    ///
    /// # Errors
    /// `NotOpen`, `Grace`.
    pub fn test_lock(
        &mut self,
        client: ClientId,
        (open, owner): (OpenId, u64),
        kind: LockKind,
        range: Range,
        now: Instant,
    ) -> Result<Option<(LockKind, Range, Who)>, Refusal> {
        self.expire(now);
        let inode = self.open_of(client, open)?.inode;
        if self.in_grace() {
            return Err(Refusal::Grace);
        }
        let owner = Owner { client, number: owner };
        let first = self.inode(inode).and_then(|found| found.ranges.conflicts(owner, range, kind).next());
        Ok(first.map(|lock| (lock.kind, lock.range, self.who(lock.owner.client))))
    }

    pub(super) fn try_lock(
        &mut self,
        id: RequestId,
        request: &Request,
        lock: &LockRequest,
        fresh: bool,
        now: Instant,
    ) -> Attempt {
        let Request { client, inode, .. } = *request;
        let LockRequest { kind, range, open, .. } = *lock;
        let owner = Owner { client, number: lock.owner };
        let limits = self.settings.limits;
        let (Some(opened), Some(by), Some(found)) =
            (self.opens.get(&open), self.clients.get(&client), self.inode(inode))
        else {
            return refused(Refusal::NotOpen);
        };
        if !opened.access.locks(kind) {
            return refused(Refusal::NotCarried);
        }
        if found.is_asking(owner, range) {
            // Nobody knows how long.
            if !lock.wait && self.waits_in_kernel(found, owner, range) {
                return refused(Refusal::Conflict(self.who(client)));
            }
            self.contend(inode, owner, (range, kind), fresh, now);
            return self.wait(request, fresh);
        }
        // A lock in the middle of another one makes two more; what is reclaimed was there before.
        let each = if lock.reclaim { 1 } else { 2 };
        let room = |locks: usize, asks: usize, limit: usize| locks + each * (asks + 1) <= limit;
        if !room(by.locks, by.asks, limits.client.locks)
            || !room(found.ranges.len(), found.asks.len(), limits.inode.locks)
        {
            return refused(Refusal::TooManyLocks);
        }
        if found.ranges.covers(owner, range, kind) {
            return self.weaken(inode, owner, lock, now);
        }
        let first = self.blockers(inode, owner, range, kind, id).next();
        if let Some(first) = first {
            self.contend(inode, owner, (range, kind), fresh, now);
            if !lock.wait || lock.reclaim {
                return refused(Refusal::Conflict(self.who(first.client)));
            }
            if (fresh || request.recheck)
                && let Err(refusal) = self.look_for_ring(inode, owner, range, kind, id)
            {
                return refused(refusal);
            }
            return self.wait(request, fresh);
        }
        if let Some(full) = self.no_room(request, fresh) {
            return refused(full);
        }
        Attempt::Asked(self.ask_range(id, inode, owner, lock))
    }

    /// Whether the kernel keeps an earlier request of this owner waiting there. One that has ended is being cancelled.
    fn waits_in_kernel(&self, found: &Inode, owner: Owner, range: Range) -> bool {
        let waits =
            |id| self.requests.get(&id).is_some_and(|it| matches!(it.what, What::Lock(it) if it.wait));
        found.asking(owner, range).any(|ask| ask.request.is_some_and(waits))
    }

    fn ask_range(&mut self, id: RequestId, inode: InodeId, owner: Owner, lock: &LockRequest) -> AskId {
        let LockRequest { range, kind, wait, .. } = *lock;
        let ask = AskId(self.number());
        if let (Some(found), Some(client)) =
            (self.inodes.get_mut(&inode), self.clients.get_mut(&owner.client))
        {
            found.asks.insert((owner, ask), RangeAsk { range, kind, request: Some(id) });
            client.asks += 1;
            self.asks.insert(ask, (inode, Some(owner)));
            self.effects.push(Effect::AskRange { ask, inode, owner, range, kind, wait });
        }
        ask
    }

    /// The owner has all of it, at least as strongly: nobody need be asked.
    fn weaken(&mut self, inode: InodeId, owner: Owner, lock: &LockRequest, now: Instant) -> Attempt {
        let LockRequest { range, kind, open, .. } = *lock;
        let Some(found) = self.inode(inode) else { return refused(Refusal::NotOpen) };
        let advisory = found.ranges.is_advisory(owner, range);
        let weaker = found.ranges.own(owner, range).any(|held| held.kind != kind);
        self.set_lock(inode, Lock { owner, range, kind, open, advisory, since: now });
        if weaker {
            self.effects.push(Effect::SetRange { inode, owner, range, kind: Some(kind) });
            self.owner_changed(inode, owner);
        }
        Attempt::Done(Ok(Granted::Locked { advisory }))
    }

    /// What the owner has there ends with the open by which its client knows of it, as far as that may carry it.
    fn carry(&mut self, inode: InodeId, owner: Owner, by: &LockRequest) {
        let Some((found, open)) = self.inode(inode).zip(self.opens.get(&by.open)) else { return };
        let others = found.ranges.own(owner, by.range).filter(|lock| lock.open != by.open);
        let moved: Vec<Lock> = others
            .filter(|lock| open.access.locks(lock.kind))
            .filter_map(|lock| {
                Some(Lock { range: lock.range.intersection(by.range)?, open: by.open, ..*lock })
            })
            .collect();
        moved.into_iter().for_each(|lock| self.set_lock(inode, lock));
    }

    pub(super) fn set_lock(&mut self, inode: InodeId, lock: Lock) {
        self.unlock_range(inode, lock.owner, lock.range);
        let (before, now) = self.change_ranges(inode, lock.owner.client, |ranges| ranges.lock(lock));
        // Those that it joins are of the same open.
        if let Some(open) = self.opens.get_mut(&lock.open) {
            open.count_locks(lock.owner.number, before, now);
        }
    }

    /// What the owner has there ends; in the kernel, what it is being asked for stays.
    pub(super) fn free_range(&mut self, inode: InodeId, owner: Owner, range: Range) {
        self.unlock_range(inode, owner, range);
        self.free_gaps(inode, owner, range);
    }

    /// In the table alone.
    fn unlock_range(&mut self, inode: InodeId, owner: Owner, range: Range) {
        let Some(found) = self.inode(inode) else { return };
        let parts = |lock: &Lock| (lock.open, lock.range.without(range).count());
        let left: Vec<(OpenId, usize)> = found.ranges.own(owner, range).map(parts).collect();
        self.change_ranges(inode, owner.client, |ranges| ranges.unlock(owner, range));
        for (open, parts) in left {
            if let Some(open) = self.opens.get_mut(&open) {
                open.count_locks(owner.number, 1, parts);
            }
        }
    }

    /// An open's locks end.
    pub(super) fn drop_locks(&mut self, open: OpenId) {
        let Some(found) = self.opens.get_mut(&open) else { return };
        let (client, inode) = (found.client, found.inode);
        for number in std::mem::take(&mut found.owners).into_keys() {
            let owner = Owner { client, number };
            let ranges = self.inode(inode).map(|found| &found.ranges);
            let of_open = |lock: &&Lock| lock.open == open;
            let ended: Vec<Range> = ranges
                .map(|ranges| ranges.of(owner).filter(of_open).map(|lock| lock.range).collect())
                .unwrap_or_default();
            self.work += 1 + ended.len() as u64;
            for range in &ended {
                self.free_range(inode, owner, *range);
            }
            if !ended.is_empty() {
                self.owner_changed(inode, owner);
                self.forget_owner(inode, owner);
            }
        }
    }

    /// The kernel frees what of this range the owner neither has nor asks for.
    pub(super) fn free_gaps(&mut self, inode: InodeId, owner: Owner, range: Range) {
        let Some(found) = self.inodes.get(&inode) else { return };
        let held = found.ranges.own(owner, range).map(|lock| lock.range);
        let asked = found.asking(owner, range).map(|ask| ask.range);
        let mut taken: Vec<Range> = held.chain(asked).collect();
        taken.sort();
        let gaps = range.gaps(taken.into_iter());
        self.effects.extend(gaps.into_iter().map(|range| Effect::SetRange {
            inode,
            owner,
            range,
            kind: None,
        }));
    }

    /// How many of the inode's there were before, and are now.
    fn change_ranges(
        &mut self,
        inode: InodeId,
        client: ClientId,
        change: impl FnOnce(&mut super::ranges::Ranges),
    ) -> (usize, usize) {
        let (Some(found), Some(by)) = (self.inodes.get_mut(&inode), self.clients.get_mut(&client)) else {
            return (0, 0);
        };
        let before = found.ranges.len();
        change(&mut found.ranges);
        let now = found.ranges.len();
        by.locks = by.locks + now - before;
        (before, now)
    }

    /// Tells holders that somebody would like what they have; each at most once a while. A request that has waited has
    /// told all but those who have come since.
    fn contend(
        &mut self,
        inode: InodeId,
        owner: Owner,
        wanted: (Range, LockKind),
        fresh: bool,
        now: Instant,
    ) {
        let Some(found) = self.inode(inode) else { return };
        let (range, kind) = wanted;
        let mut told = BTreeSet::new();
        let untold = |lock: &Lock| !found.contended.contains(&lock.owner) && told.insert(lock.owner);
        let in_the_way: Vec<Lock> = if fresh {
            found.ranges.conflicts(owner, range, kind).filter(untold).collect()
        } else {
            let others = found.gained.iter().filter(|gained| **gained != owner);
            let theirs = others.filter_map(|other| found.ranges.in_the_way(*other, range, kind));
            theirs.copied().filter(untold).collect()
        };
        let who = self.who(owner.client);
        in_the_way.into_iter().for_each(|lock| self.tell_contention(inode, &lock, range, &who, now));
    }

    fn tell_contention(&mut self, inode: InodeId, lock: &Lock, wanted: Range, who: &Who, now: Instant) {
        let Lock { owner, open, .. } = *lock;
        let Some(range) = lock.range.intersection(wanted) else { return };
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        found.contended.insert(owner);
        self.schedule.set(Due::Contention(inode, owner), now + self.settings.contention);
        if self.is_connected(owner.client)
            && let Some(cookie) = self.opens.get(&open).map(|open| open.cookie)
        {
            let (client, owner, who) = (owner.client, owner.number, who.clone());
            self.effects.push(Effect::Contention { client, open, cookie, owner, range, who });
        }
    }

    /// Who still waits for this owner's locks is told of again.
    pub(super) fn contention_over(&mut self, inode: InodeId, owner: Owner, now: Instant) {
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        found.contended.remove(&owner);
        let Some(found) = self.inode(inode) else { return };
        let first = found.blocked.iter().find_map(|id| {
            let request = self.requests.get(id)?;
            let What::Lock(wanted) = request.what else { return None };
            let lock = found.ranges.in_the_way(owner, wanted.range, wanted.kind)?;
            let waits_for_itself = request.client == owner.client && wanted.owner == owner.number;
            (!waits_for_itself).then_some((*lock, wanted.range, request.client))
        });
        if let Some((lock, wanted, client)) = first {
            let who = self.who(client);
            self.tell_contention(inode, &lock, wanted, &who, now);
        }
    }
}
