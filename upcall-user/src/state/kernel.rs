//! What the kernel says: answers to asks, and that its lease is being broken or is lost.

use std::time::Instant;

use super::{
    AskId, Effect, Granted, InodeId, Keep, Kernel, LockKind, LockRequest, Owner, Range, Refusal, RequestId,
    Table, Who, inode::RangeAsk, lease::Lease, ranges::Lock, request::What,
};

impl Table {
    /// The kernel's answer to an ask; each is answered once.
    pub fn answered(&mut self, ask: AskId, answer: Kernel, now: Instant) {
        self.expire(now);
        let Some((inode, owner)) = self.asks.remove(&ask) else { return };
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        if let Some(asked) = found.lease.asked.take_if(|asked| asked.ask == ask) {
            if matches!(answer, Kernel::Held | Kernel::HeldWhole) {
                found.lease.held = Some(asked.wanted);
                found.lease.taken_whole = answer == Kernel::HeldWhole;
            }
            self.take_answer(asked.request, answer);
        } else if let Some(asked) = found.deny.asked.take_if(|asked| asked.ask == ask) {
            if answer == Kernel::Held {
                found.deny.held = asked.wanted;
            }
            self.take_answer(asked.request, answer);
        } else if let Some(owner) = owner
            && let Some(asked) = found.asks.remove(&(owner, ask))
        {
            self.range_answered(inode, owner, asked, answer, now);
        }
        self.settle(inode, now);
    }

    /// For a lease or a deny mode; once it is held, the request is tried anew.
    fn take_answer(&mut self, id: RequestId, answer: Kernel) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let advisory_ok = match &request.what {
            What::Open(open) => open.advisory_ok,
            What::Lease(lease) => lease.advisory_ok,
            What::Change(change) => self.opens.get(&change.open).is_some_and(|open| open.advisory_ok),
            What::Lock(_) => false,
        };
        match answer {
            Kernel::Held | Kernel::HeldWhole => {}
            Kernel::Unsupported if advisory_ok => request.advisory = true,
            other => self.finish(id, Err(refusal(other))),
        }
    }

    fn range_answered(
        &mut self,
        inode: InodeId,
        owner: Owner,
        asked: RangeAsk,
        answer: Kernel,
        now: Instant,
    ) {
        let RangeAsk { range, kind, request } = asked;
        if let Some(client) = self.clients.get_mut(&owner.client) {
            client.asks -= 1;
        }
        let wanted = request.and_then(|id| match self.requests.get(&id)?.what {
            What::Lock(lock) => Some((id, lock)),
            _ => None,
        });
        match (wanted, answer) {
            (Some((id, lock)), Kernel::Held) => self.lock_granted(inode, id, owner, &lock, (false, now)),
            (Some((id, lock)), Kernel::Unsupported) if lock.advisory_ok => {
                self.lock_granted(inode, id, owner, &lock, (true, now));
            }
            (None, Kernel::Held) => self.locked_in_vain(inode, owner, range, kind),
            (wanted, other) => {
                self.free_gaps(inode, owner, range);
                if let Some((id, _)) = wanted {
                    self.finish(id, Err(refusal(other)));
                }
            }
        }
        self.owner_changed(inode, owner);
        self.forget_owner(inode, owner);
    }

    fn lock_granted(
        &mut self,
        inode: InodeId,
        id: RequestId,
        owner: Owner,
        lock: &LockRequest,
        (advisory, since): (bool, Instant),
    ) {
        let LockRequest { range, kind, open, .. } = *lock;
        self.set_lock(inode, Lock { owner, range, kind, open, advisory, since });
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.gained.insert(owner);
        }
        self.finish(id, Ok(Granted::Locked { advisory }));
    }

    /// The kernel has locked it for a request that has ended. What the owner has there under other opens stays, but is
    /// no stronger than what the kernel has now.
    fn locked_in_vain(&mut self, inode: InodeId, owner: Owner, range: Range, kind: LockKind) {
        self.free_gaps(inode, owner, range);
        let Some(found) = self.inode(inode) else { return };
        let others: Vec<Lock> =
            found.ranges.own(owner, range).filter(|lock| lock.kind != kind).copied().collect();
        for lock in others {
            let Some(range) = lock.range.intersection(range) else { continue };
            match lock.kind {
                LockKind::Read => {
                    let kind = Some(LockKind::Read);
                    self.effects.push(Effect::SetRange { inode, owner, range, kind });
                }
                LockKind::Write => self.set_lock(inode, Lock { range, kind, ..lock }),
            }
        }
    }

    /// The kernel's lease keeps a local process waiting until no more than `keep` is left of it.
    pub fn lease_breaks(&mut self, inode: InodeId, keep: Keep, who: Who, now: Instant) {
        self.expire(now);
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        let lease = &mut found.lease;
        // With nothing held or asked for, this tells of one that has been given up already.
        if lease.held.is_none() && lease.asked.is_none() {
            return;
        }
        lease.breaking = Some(lease.breaking.map_or(keep, |earlier| earlier.min(keep)));
        self.recall(inode, keep, |_| false, &who, now);
        self.settle(inode, now);
    }

    /// The kernel does not hold the inode any more: it broke the lease itself, or did not let it be weakened.
    pub fn lease_lost(&mut self, inode: InodeId, now: Instant) {
        self.expire(now);
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        let lost = found.lease.held.take();
        if found.lease.asked.is_none() {
            found.lease.breaking = None;
        }
        let holders: Vec<_> = found.leased.iter().copied().collect();
        for holder in holders {
            if self.inode(inode).is_some_and(|found| found.lease(holder).and_then(Lease::kind) <= lost) {
                self.revoke(inode, holder, now);
            }
        }
        self.settle(inode, now);
    }
}

fn refusal(answer: Kernel) -> Refusal {
    match answer {
        Kernel::Refused(who) => Refusal::LocalConflict(who),
        Kernel::Unsupported => Refusal::Unsupported,
        Kernel::Cancelled | Kernel::Held | Kernel::HeldWhole => Refusal::Cancelled,
    }
}
