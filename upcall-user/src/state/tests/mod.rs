//! The rules, one by one; and all of them against a model.

mod clients;
mod gluster;
mod kernel;
mod leases;
mod limits;
mod locks;
mod model;
mod opens;
mod recalls;
mod show;
mod work;

use std::time::{Duration, Instant};

use self::show::shown;
use super::*;

const FILE: InodeId = InodeId(7);
const OTHER: InodeId = InodeId(8);
const R: LeaseKind = LeaseKind::Read;
const W: LeaseKind = LeaseKind::Write;

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A table, a clock, and a kernel that says the same to everything.
struct Rig {
    table: Table,
    now: Instant,
    /// What it says to asks; none: the test says it.
    kernel: Option<Kernel>,
    connections: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let table = Table::new(settings, 0, None);
        Self { table, now: Instant::now(), kernel: Some(Kernel::Held), connections: 0 }
    }

    /// Just after a restart.
    fn restarted() -> Self {
        let mut rig = Self::new();
        rig.table = Table::new(Settings::default(), 1_000, Some(rig.now + secs(15)));
        rig
    }

    fn begin(&mut self, name: &str) -> ClientId {
        let mut identity = [0; 16];
        identity[..name.len()].copy_from_slice(name.as_bytes());
        self.connections += 1;
        let connection = Connection(self.connections);
        self.table.begin(Identity(identity), 1, name, connection, self.now).expect("a client")
    }

    fn disconnect(&mut self, client: ClientId) {
        let connection = self.table.clients[&client].connection.expect("connected");
        self.table.disconnect(client, connection, self.now);
    }

    /// What is left to do once the kernel has answered.
    fn effects(&mut self) -> Vec<Effect> {
        let mut left = Vec::new();
        loop {
            let effects = self.table.take_effects();
            if effects.is_empty() {
                return left;
            }
            for effect in effects {
                match (&self.kernel, &effect) {
                    (
                        Some(answer),
                        Effect::AskLease { ask, .. }
                        | Effect::AskDeny { ask, .. }
                        | Effect::AskRange { ask, .. },
                    ) => self.table.answered(*ask, answer.clone(), self.now),
                    _ => left.push(effect),
                }
            }
        }
    }

    /// What clients are told.
    fn upcalls(&mut self) -> Vec<Effect> {
        let told = |effect: &Effect| {
            matches!(
                effect,
                Effect::Answer { .. }
                    | Effect::Recall { .. }
                    | Effect::Revoked { .. }
                    | Effect::Contention { .. }
                    | Effect::Disconnect { .. }
            )
        };
        self.effects().into_iter().filter(told).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.table.expire(self.now);
    }

    /// The answer, which other effects may come before; they are lost.
    fn answer(&mut self, reply: Reply) -> Result<Granted, Refusal> {
        let id = match reply {
            Reply::Now(answer) => return answer,
            Reply::Later(id) => id,
        };
        let answers = self.effects().into_iter().filter_map(|effect| match effect {
            Effect::Answer { request, answer, .. } if request == id => Some(answer),
            _ => None,
        });
        let mut answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1, "one answer");
        answers.remove(0)
    }

    fn open(&mut self, client: ClientId, id: u8, access: Access) -> OpenId {
        let reply = self.table.open(client, open_request(id, access, Deny::None), self.now);
        opened(self.answer(reply)).expect("an open")
    }

    fn try_open(&mut self, client: ClientId, id: u8, access: Access, deny: Deny) -> Result<Granted, Refusal> {
        let reply = self.table.open(client, open_request(id, access, deny), self.now);
        self.finished(reply)
    }

    /// Answered, with the other effects still to be taken.
    fn finished(&mut self, reply: Reply) -> Result<Granted, Refusal> {
        match reply {
            Reply::Now(answer) => answer,
            later => self.answer(later),
        }
    }

    fn try_lease(&mut self, client: ClientId, open: OpenId, kind: LeaseKind) -> Result<Granted, Refusal> {
        let reply = self.table.lease(client, lease_request(open, kind), self.now);
        self.finished(reply)
    }

    fn lease(&mut self, client: ClientId, open: OpenId, kind: LeaseKind) {
        let granted = self.try_lease(client, open, kind);
        assert_eq!(granted, Ok(Granted::Leased { kind, advisory: false }));
    }

    fn give_back(
        &mut self,
        client: ClientId,
        open: OpenId,
        kind: LeaseKind,
        keep: Keep,
    ) -> Result<(), Refusal> {
        self.table.give_back(client, open, kind, keep, self.now)
    }

    /// A client with an open and a lease of the file.
    fn holder(&mut self, name: &str, kind: LeaseKind) -> (ClientId, OpenId) {
        let client = self.begin(name);
        let access = if kind == R { Access::Read } else { Access::Both };
        let open = self.open(client, 1, access);
        self.lease(client, open, kind);
        (client, open)
    }

    /// A client with an open for both.
    fn locker(&mut self, name: &str) -> (ClientId, OpenId) {
        let client = self.begin(name);
        (client, self.open(client, 1, Access::Both))
    }

    fn try_lock(&mut self, by: (ClientId, OpenId), start: u64, length: u64, kind: LockKind) -> Reply {
        self.table.lock(by.0, lock_request(by.1, start, length, kind, false), self.now)
    }

    fn lock(&mut self, by: (ClientId, OpenId), start: u64, length: u64, kind: LockKind) {
        let reply = self.try_lock(by, start, length, kind);
        assert_eq!(self.answer(reply), Ok(Granted::Locked { advisory: false }));
    }

    /// A request that has to wait.
    fn blocked(&mut self, by: (ClientId, OpenId), start: u64, length: u64, kind: LockKind) -> RequestId {
        match self.table.lock(by.0, lock_request(by.1, start, length, kind, true), self.now) {
            Reply::Later(request) => request,
            Reply::Now(answer) => panic!("does not wait: {answer:?}"),
        }
    }

    fn unlock(&mut self, by: (ClientId, OpenId), start: u64, length: u64) {
        self.table.unlock(by.0, by.1, 1, range(start, length), self.now).expect("unlocked");
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.table.census(), Census::default());
        assert!(self.table.schedule.is_empty());
        assert!(self.table.identities.is_empty());
    }
}

fn range(start: u64, length: u64) -> Range {
    Range::new(start, length).expect("within 64 bits")
}

fn open_request(id: u8, access: Access, deny: Deny) -> OpenRequest {
    OpenRequest {
        inode: FILE,
        export: 0,
        writable: true,
        access,
        deny,
        lease_id: LeaseId([id; 16]),
        cookie: 5,
        reclaim: None,
        advisory_ok: false,
        wait: false,
    }
}

fn lease_request(open: OpenId, kind: LeaseKind) -> LeaseRequest {
    LeaseRequest { open, kind, reclaim: false, advisory_ok: false }
}

fn lock_request(open: OpenId, start: u64, length: u64, kind: LockKind, wait: bool) -> LockRequest {
    LockRequest {
        open,
        owner: 1,
        kind,
        range: range(start, length),
        wait,
        reclaim: false,
        advisory_ok: false,
    }
}

fn opened(answer: Result<Granted, Refusal>) -> Result<OpenId, Refusal> {
    answer.map(|granted| match granted {
        Granted::Opened { open, .. } => open,
        other => panic!("not an open: {other:?}"),
    })
}

fn client(name: &str) -> Who {
    Who::Client(name.to_owned())
}

/// Whom a recall tells, and what may be kept.
fn recalls(effects: &[Effect]) -> Vec<(ClientId, Keep)> {
    let recall = |effect: &Effect| match effect {
        Effect::Recall { client, keep, .. } => Some((*client, *keep)),
        _ => None,
    };
    effects.iter().filter_map(recall).collect()
}

fn revoked(effects: &[Effect]) -> Vec<ClientId> {
    let revoked = |effect: &Effect| match effect {
        Effect::Revoked { client, .. } => Some(*client),
        _ => None,
    };
    effects.iter().filter_map(revoked).collect()
}

fn contentions(effects: &[Effect]) -> Vec<ClientId> {
    let contention = |effect: &Effect| match effect {
        Effect::Contention { client, .. } => Some(*client),
        _ => None,
    };
    effects.iter().filter_map(contention).collect()
}

/// Answers to requests that waited.
fn answers(effects: &[Effect]) -> Vec<(RequestId, Result<Granted, Refusal>)> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer { request, answer, .. } => Some((*request, answer.clone())),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}
