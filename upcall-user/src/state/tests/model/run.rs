//! Table, model and kernel side by side.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    super::super::{open::Claim, *},
    FILES, Op,
    invariants::{assert_counted, assert_held, assert_safe},
    kernel::FakeKernel,
    naive::Naive,
    said,
};

pub(super) struct Run {
    table: Table,
    naive: Naive,
    kernel: FakeKernel,
    now: Instant,
    clients: [ClientId; 3],
    connections: u64,
    /// Requests that are to be answered.
    waiting: BTreeSet<(ClientId, RequestId)>,
    over: BTreeSet<RequestId>,
}

impl Run {
    pub(super) fn new(restarted: bool, small: bool) -> Self {
        let now = Instant::now();
        let share = Share { opens: 5, leases: 4, locks: 8, waiting: 3 };
        let limits = if small {
            Limits { clients: 3, client: share, inode: share, ..Limits::default() }
        } else {
            Limits::default()
        };
        let settings = Settings { limits, ..Settings::default() };
        let reclaim_until = restarted.then(|| now + Duration::from_secs(15));
        let mut run = Self {
            table: Table::new(settings, 0, reclaim_until),
            naive: Naive::new(settings, reclaim_until, now),
            kernel: FakeKernel::default(),
            now,
            clients: [ClientId(0); 3],
            connections: 0,
            waiting: BTreeSet::new(),
            over: BTreeSet::new(),
        };
        (0..3).for_each(|by| run.step(Op::Begin(by), &Kernel::Held));
        run
    }

    pub(super) fn step(&mut self, op: Op, says: &Kernel) {
        self.perform(op);
        self.compare(says);
        assert_safe(&self.table);
        assert_counted(&self.table);
        assert_held(&self.table, &self.kernel);
        self.assert_no_ring();
    }

    /// Effects are the same, and carried out.
    fn compare(&mut self, says: &Kernel) {
        let effects = self.table.take_effects();
        for effect in &effects {
            self.kernel.take(effect, says);
            if let Effect::Answer { client, request, .. } = effect {
                // It may be answered in the very call that made it.
                assert!(self.over.insert(*request), "answered twice");
                self.waiting.remove(&(*client, *request));
            }
        }
        let mut told: Vec<String> = effects.iter().filter_map(said::effect).collect();
        let mut expected = std::mem::take(&mut self.naive.said);
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
        let table: BTreeSet<RequestId> = self.table.requests.keys().copied().collect();
        let waiting: BTreeSet<RequestId> = self.waiting.iter().map(|(_, request)| *request).collect();
        assert_eq!(table, waiting, "a request is lost");
    }

    fn reply(&mut self, by: ClientId, told: Reply, expected: Reply) {
        assert_eq!(said::plain_reply(&told), said::plain_reply(&expected));
        if let Reply::Later(request) = told {
            self.waiting.insert((by, request));
        }
    }

    /// One of the model's opens, and whose it is.
    fn pick(&self, at: usize) -> (ClientId, OpenId) {
        let opens = &self.naive.opens;
        match opens.get(at % opens.len().max(1)) {
            Some(open) => (open.holder.client, open.id),
            None => (self.clients[0], OpenId(u64::MAX)),
        }
    }

    fn perform(&mut self, op: Op) {
        let now = self.now;
        self.naive.advance(now);
        match op {
            Op::Begin(by) => self.begin(by),
            Op::Disconnect(by) => self.disconnect(self.clients[usize::from(by)]),
            Op::Open(by, wish) => {
                let by = self.clients[usize::from(by)];
                let expected = self.naive.call_open(by, wish);
                let told = self.table.open(by, wish, now);
                self.reply(by, told, expected);
            }
            Op::Reclaim(at, what) => self.reclaim(at, what),
            Op::Reclaimed(by) => {
                let by = self.clients[usize::from(by)];
                assert_eq!(self.table.reclaimed(by, now), self.naive.call_reclaimed(by));
            }
            Op::Change(at, access, deny) => {
                let (by, open) = self.pick(at);
                let change = ChangeRequest { open, access, deny };
                let expected = self.naive.call_change(by, change);
                let told = self.table.change(by, change, now);
                self.reply(by, told, expected);
            }
            Op::Close(at) => {
                let (by, open) = self.pick(at);
                assert_eq!(self.table.close(by, open, now), self.naive.call_close(by, open));
            }
            Op::Lease(at, kind, reclaim, advisory_ok) => {
                let (by, open) = self.pick(at);
                let lease = LeaseRequest { open, kind, reclaim, advisory_ok };
                let expected = self.naive.call_lease(by, lease);
                let told = self.table.lease(by, lease, now);
                self.reply(by, told, expected);
            }
            Op::GiveBack(at, kind, keep) => {
                let (by, open) = self.pick(at);
                let expected = self.naive.call_give_back(by, open, kind, keep);
                assert_eq!(self.table.give_back(by, open, kind, keep, now), expected);
            }
            Op::Extend(at) => {
                let (by, open) = self.pick(at);
                assert_eq!(self.table.extend(by, open, now), self.naive.call_extend(by, open));
            }
            Op::Lock(at, lock) => {
                let (by, open) = self.pick(at);
                let lock = LockRequest { open, ..lock };
                let expected = self.naive.call_lock(by, lock);
                let told = self.table.lock(by, lock, now);
                self.reply(by, told, expected);
            }
            Op::Unlock(at, owner, range) => {
                let (by, open) = self.pick(at);
                let expected = self.naive.call_unlock(by, open, owner, range);
                assert_eq!(self.table.unlock(by, open, owner, range, now), expected);
            }
            Op::Cancel(at) => {
                let waiting: Vec<_> = self.waiting.iter().copied().collect();
                if let Some(&(by, request)) = waiting.get(at % waiting.len().max(1)) {
                    assert_eq!(self.table.cancel(by, request, now), self.naive.cancel(by, request));
                }
            }
            Op::Obtain(at, says) => {
                let pending = self.kernel.pending.len();
                if pending > 0 {
                    self.kernel.obtain(at % pending, &says);
                }
            }
            Op::Answer(at, says) => {
                let pending = self.kernel.pending.len();
                if pending > 0 {
                    let (ask, answer) = self.kernel.answer(at % pending, &says);
                    self.naive.answered(ask, &answer);
                    self.table.answered(ask, answer, now);
                }
            }
            Op::Breaks(inode, keep) => {
                self.naive.call_breaks(inode, keep);
                self.table.lease_breaks(inode, keep, Who::Process(7), now);
            }
            Op::Outside(inode, keep, by) => {
                let by = by.map(|by| self.clients[usize::from(by)]);
                self.naive.recall(inode, keep, |holder| Some(holder.client) == by);
                self.table.outside(inode, keep, |client| Some(client) == by, Who::Process(7), now);
            }
            Op::Lost(inode) => {
                // While it is asked for more, what is lost is not certain.
                if !self.kernel.leases_asked(inode) && self.kernel.lease.remove(&inode).is_some() {
                    self.naive.call_lost(inode);
                    self.table.lease_lost(inode, now);
                }
            }
            Op::Pass(time) => {
                self.now += Duration::from_secs(time);
                self.naive.advance(self.now);
                self.table.expire(self.now);
            }
        }
    }

    /// Of an open, what has a bit: each of its leases, and of its locks each byte, as what it is or less.
    fn reclaim(&mut self, at: usize, what: u16) {
        let awaited: Vec<_> = self.naive.opens.iter().filter(|it| it.claim == Claim::Awaited).collect();
        let Some(open) = awaited.get(at % awaited.len().max(1)) else { return };
        let (by, id, now) = (open.holder.client, open.id, self.now);
        let chosen = |bit: usize| what & 1 << (bit % 16) != 0;
        // As what it has, or, now and then, as less or as something else.
        let (access, deny) = match what % 8 {
            0 => (Access::Read, Deny::None),
            1 => (Access::Both, Deny::Write),
            _ => (open.wish.access, open.wish.deny),
        };
        let wish = OpenRequest { reclaim: Some(id), access, deny, ..open.wish };
        let leases: Vec<LeaseKind> = open.grants.iter().map(|it| it.kind).collect();
        let bytes: Vec<_> = self.naive.bytes.iter().filter(|it| it.open == id).copied().collect();
        let expected = self.naive.call_open(by, wish);
        let told = self.table.open(by, wish, now);
        self.reply(by, told, expected);
        for (_, kind) in leases.into_iter().enumerate().filter(|(bit, _)| chosen(*bit)) {
            let lease = LeaseRequest { open: id, kind, reclaim: true, advisory_ok: false };
            let expected = self.naive.call_lease(by, lease);
            let told = self.table.lease(by, lease, now);
            self.reply(by, told, expected);
        }
        for (bit, byte) in bytes.into_iter().enumerate().filter(|(bit, _)| chosen(bit + 2)) {
            let kind = if chosen(bit + 9) { byte.kind } else { LockKind::Read };
            let (range, owner) = (Range::between(byte.at, byte.at), byte.owner.number);
            let lock =
                LockRequest { open: id, owner, kind, range, wait: false, reclaim: true, advisory_ok: false };
            let expected = self.naive.call_lock(by, lock);
            let told = self.table.lock(by, lock, now);
            self.reply(by, told, expected);
        }
    }

    fn begin(&mut self, by: u8) {
        self.connections += 1;
        let (identity, connection) = (Identity([by; 16]), Connection(self.connections));
        self.waiting.retain(|(client, _)| *client != self.clients[usize::from(by)]);
        let expected = self.naive.begin(identity, connection);
        let id = self.table.begin(identity, 1, "name", connection, self.now);
        assert_eq!(id, Ok(expected));
        self.clients[usize::from(by)] = expected;
    }

    fn disconnect(&mut self, by: ClientId) {
        let connected = self.naive.clients.iter().find(|it| it.id == by).and_then(|it| it.connection);
        if let Some(connection) = connected {
            self.waiting.retain(|(client, _)| *client != by);
            self.naive.disconnect(by);
            self.table.disconnect(by, connection, self.now);
        }
    }

    /// Nobody waits, in the end, for itself.
    fn assert_no_ring(&self) {
        let mut blocked = self.naive.blocked();
        blocked.retain(|(_, inode, owner, lock)| !self.naive.in_turn(*inode, *owner, lock.range));
        let mut edges: BTreeSet<(Owner, Owner)> = BTreeSet::new();
        for (id, inode, owner, lock) in &blocked {
            edges.extend(self.naive.blockers(*id, *inode, *owner, lock).into_iter().map(|by| (*owner, by)));
        }
        loop {
            let further: Vec<_> = edges
                .iter()
                .flat_map(|(a, b)| {
                    edges.range((*b, FIRST)..).take_while(move |it| it.0 == *b).map(|it| (*a, it.1))
                })
                .filter(|edge| !edges.contains(edge))
                .collect();
            if further.is_empty() {
                break;
            }
            edges.extend(further);
        }
        assert!(edges.iter().all(|(a, b)| a != b), "a ring: {edges:?}");
    }

    /// Time passes and the kernel answers: waits end. All go: nothing is left.
    pub(super) fn end(mut self) {
        for _ in 0..3 {
            self.answer_all();
            self.step(Op::Pass(130), &Kernel::Held);
        }
        self.answer_all();
        for request in self.table.requests.values() {
            assert!(matches!(request.what, request::What::Lock(_)), "still waits: {request:?}");
        }
        for by in 0..3 {
            self.step(Op::Disconnect(by), &Kernel::Held);
        }
        self.answer_all();
        assert!(self.waiting.is_empty());
        self.step(Op::Pass(20), &Kernel::Held);
        self.answer_all();
        assert_eq!(self.table.census(), Census::default());
        assert!(self.table.schedule.is_empty() && self.table.identities.is_empty());
        for inode in FILES {
            assert_eq!(self.kernel.lease.get(&inode), None);
            assert_eq!(self.kernel.deny.get(&inode).copied().unwrap_or_default(), Deny::None);
        }
        assert!(self.kernel.bytes.is_empty());
    }

    fn answer_all(&mut self) {
        while !self.kernel.pending.is_empty() {
            self.step(Op::Answer(0, Kernel::Held), &Kernel::Held);
        }
    }
}

const FIRST: Owner = Owner { client: ClientId(0), number: 0 };
