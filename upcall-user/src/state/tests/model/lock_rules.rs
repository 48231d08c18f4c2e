//! Who conflicts with whom in locks, over the lists.

use super::{
    super::super::{request::What, *},
    lists::{Ask, Asked, Byte, Request},
    naive::Naive,
    rules::{Answer, CONFLICT, refused},
};

impl Naive {
    pub(super) fn set_lock(&mut self, inode: InodeId, client: ClientId, lock: &LockRequest, advisory: bool) {
        let owner = Owner { client, number: lock.owner };
        for at in lock.range.start()..=lock.range.last() {
            self.bytes.retain(|it| (it.inode, it.owner, it.at) != (inode, owner, at));
            self.bytes.push(Byte { inode, owner, at, kind: lock.kind, open: lock.open, advisory });
        }
    }

    pub(super) fn ranges(&self, such: impl Fn(&Byte) -> bool) -> usize {
        ranges(&self.bytes, such)
    }

    fn in_the_way(&self, inode: InodeId, owner: Owner, range: Range, kind: LockKind) -> Vec<Owner> {
        let mut owners: Vec<_> =
            self.bytes.iter().filter(|it| conflicts(it, inode, owner, range, kind)).collect();
        owners.sort_by_key(|it| it.owner);
        owners.dedup_by_key(|it| it.owner);
        owners.into_iter().map(|it| it.owner).collect()
    }

    fn asked_by(&self, such: impl Fn(Owner, Range, LockKind) -> bool, inode: InodeId) -> Vec<Owner> {
        let of = |ask: &Ask| match ask.asked {
            Asked::Range(owner, range, kind) if ask.inode == inode && such(owner, range, kind) => Some(owner),
            _ => None,
        };
        self.asks.iter().filter_map(of).collect()
    }

    /// Lock requests that wait in the table.
    pub(super) fn blocked(&self) -> Vec<(RequestId, InodeId, Owner, LockRequest)> {
        let blocked = |it: &Request| match it.what {
            What::Lock(lock) if !self.asks.iter().any(|ask| ask.request == Some(it.id)) => {
                Some((it.id, it.inode, Owner { client: it.client, number: lock.owner }, lock))
            }
            _ => None,
        };
        self.requests.iter().filter_map(blocked).collect()
    }

    pub(super) fn blockers(
        &self,
        id: RequestId,
        inode: InodeId,
        owner: Owner,
        lock: &LockRequest,
    ) -> Vec<Owner> {
        let LockRequest { range, kind, .. } = *lock;
        let clash = |by: Owner, other: Range, other_kind: LockKind| {
            by != owner && other.overlaps(range) && kind.conflicts(other_kind)
        };
        let mut all = self.in_the_way(inode, owner, range, kind);
        all.extend(self.asked_by(clash, inode));
        for (earlier, file, by, wanted) in self.blocked() {
            let held_up = self.in_the_way(inode, by, wanted.range, wanted.kind).contains(&owner)
                || !self
                    .asked_by(
                        |it, other, k| {
                            it == owner && other.overlaps(wanted.range) && k.conflicts(wanted.kind)
                        },
                        inode,
                    )
                    .is_empty();
            if file == inode && earlier < id && clash(by, wanted.range, wanted.kind) && !held_up {
                all.push(by);
            }
        }
        all
    }

    /// It comes after its owner's earlier one, and is not looked at before.
    pub(super) fn in_turn(&self, inode: InodeId, owner: Owner, range: Range) -> bool {
        !self.asked_by(|by, other, _| by == owner && other.overlaps(range), inode).is_empty()
    }

    /// An earlier request of its owner waits there for a local process.
    fn waits_in_kernel(&self, inode: InodeId, owner: Owner, range: Range) -> bool {
        self.requests.iter().any(|it| {
            let asked = self.asks.iter().any(|ask| ask.request == Some(it.id));
            let waits =
                |lock: LockRequest| lock.wait && lock.owner == owner.number && lock.range.overlaps(range);
            asked
                && (it.inode, it.client) == (inode, owner.client)
                && matches!(it.what, What::Lock(lock) if waits(lock))
        })
    }

    pub(super) fn owner_changed(&mut self, inode: InodeId, owner: Owner) {
        let of_owner = |it: &What| matches!(it, What::Lock(lock) if lock.owner == owner.number);
        let all = self.requests.iter_mut().filter(|it| it.inode == inode && it.client == owner.client);
        all.filter(|it| of_owner(&it.what)).for_each(|it| it.recheck = true);
    }

    /// Whether owners wait in a ring that this request closes.
    fn closes_ring(&self, owner: Owner, first: Vec<Owner>) -> bool {
        let mut reached = first;
        loop {
            let before = reached.len();
            for (id, inode, by, lock) in self.blocked() {
                let is_open_question = self.requests.iter().any(|it| it.id == id && it.recheck);
                if !is_open_question && reached.contains(&by) && !self.in_turn(inode, by, lock.range) {
                    for further in self.blockers(id, inode, by, &lock) {
                        if !reached.contains(&further) {
                            reached.push(further);
                        }
                    }
                }
            }
            if reached.contains(&owner) || reached.len() == before {
                return reached.contains(&owner);
            }
        }
    }

    pub(super) fn lock(&mut self, request: &Request, lock: &LockRequest, fresh: bool) -> Answer {
        let (inode, limits) = (request.inode, self.settings.limits);
        let owner = Owner { client: request.client, number: lock.owner };
        let LockRequest { kind, range, .. } = *lock;
        if !self.open(lock.open).wish.access.locks(kind) {
            return refused(Refusal::NotCarried);
        }
        if self.in_turn(inode, owner, range) {
            if !lock.wait && self.waits_in_kernel(inode, owner, range) {
                return refused(CONFLICT);
            }
            self.contend(inode, owner, lock);
            return self.later(request, fresh);
        }
        let asks = |such: &dyn Fn(InodeId, ClientId) -> bool| {
            let range = |ask: &&Ask| matches!(ask.asked, Asked::Range(by, ..) if such(ask.inode, by.client));
            self.asks.iter().filter(range).count()
        };
        let of_client = self.ranges(|it| it.owner.client == request.client);
        let of_inode = self.ranges(|it| it.inode == inode);
        if of_client + 2 * (asks(&|_, by| by == request.client) + 1) > limits.client.locks
            || of_inode + 2 * (asks(&|of, _| of == inode) + 1) > limits.inode.locks
        {
            return refused(Refusal::TooManyLocks);
        }
        let own = |at: u64| self.bytes.iter().find(|it| (it.inode, it.owner, it.at) == (inode, owner, at));
        if (range.start()..=range.last()).all(|at| own(at).is_some_and(|it| it.kind >= kind)) {
            let advisory = (range.start()..=range.last()).any(|at| own(at).is_some_and(|it| it.advisory));
            self.set_lock(inode, request.client, lock, advisory);
            self.owner_changed(inode, owner);
            return Some(Ok(Granted::Locked { advisory }));
        }
        let blockers = self.blockers(request.id, inode, owner, lock);
        if blockers.is_empty() {
            return self
                .later(request, fresh)
                .or_else(|| self.ask(request, Asked::Range(owner, range, kind)));
        }
        self.contend(inode, owner, lock);
        if !lock.wait || lock.reclaim {
            return refused(CONFLICT);
        }
        if (fresh || request.recheck) && self.closes_ring(owner, blockers) {
            return refused(Refusal::Deadlock);
        }
        self.later(request, fresh)
    }

    fn contend(&mut self, inode: InodeId, owner: Owner, lock: &LockRequest) {
        for by in self.in_the_way(inode, owner, lock.range, lock.kind) {
            if !self.contended.iter().any(|it| (it.0, it.1) == (inode, by)) {
                self.tell_contention(inode, by);
            }
        }
    }

    fn tell_contention(&mut self, inode: InodeId, by: Owner) {
        self.contended.push((inode, by, self.now + self.settings.contention));
        if self.connected(by.client) {
            self.said.push(format!("contention {by:?}"));
        }
    }

    pub(super) fn contention_over(&mut self, inode: InodeId, owner: Owner) {
        self.contended.retain(|it| (it.0, it.1) != (inode, owner));
        let waits = self.blocked().into_iter().any(|(_, file, by, lock)| {
            file == inode && self.in_the_way(inode, by, lock.range, lock.kind).contains(&owner)
        });
        if waits {
            self.tell_contention(inode, owner);
        }
    }
}

fn conflicts(byte: &Byte, inode: InodeId, owner: Owner, range: Range, kind: LockKind) -> bool {
    byte.inode == inode
        && byte.owner != owner
        && range.start() <= byte.at
        && byte.at <= range.last()
        && kind.conflicts(byte.kind)
}

/// How many ranges some of the bytes make.
pub(super) fn ranges(bytes: &[Byte], such: impl Fn(&Byte) -> bool) -> usize {
    let starts = |byte: &&Byte| {
        such(byte)
            && !bytes.iter().any(|it| {
                (it.inode, it.owner, it.kind, it.open, it.advisory)
                    == (byte.inode, byte.owner, byte.kind, byte.open, byte.advisory)
                    && it.at + 1 == byte.at
            })
    };
    bytes.iter().filter(starts).count()
}
