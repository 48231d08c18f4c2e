//! What clients ask for.

use std::{os::fd::OwnedFd, time::Instant};

use tokio::sync::oneshot;
use upcall_common::wire::{self, Code, Extended, StateAnswer, StateRequest};

use super::{
    Ask, Named,
    clients::{Pending, finish},
    convert::{Wanted, blocker, done as answer_done, ms, outcome, refused, said},
    journal::{Subject, open_of},
    kernel::Test,
    run::Task,
};
use crate::state::{
    ChangeRequest, ClientId, Connection, Deny, InodeId, LeaseId, LeaseRequest, LockRequest, OpenId,
    OpenRequest, Owner, Range, Reply, RequestId,
};

/// Who asks, and how it is answered.
struct Asker {
    connection: Connection,
    client: ClientId,
    tag: u32,
    subject: Option<Subject>,
    done: oneshot::Sender<()>,
}

impl Task {
    pub(super) fn ask(&mut self, ask: Ask, done: oneshot::Sender<()>) {
        let Ask { connection, tag, request, file } = ask;
        // Taken over from: its session is about to end.
        let Some(client) = self.clients.of(connection) else { return finish(Some(done)) };
        let subject = self.subject(client, &request, file.as_ref());
        let by = Asker { connection, client, tag, subject, done };
        if let Some(text) = self.disabled(client, &request, file.as_ref()) {
            return self.answer(by, refused(&request, Code::Disabled, text));
        }
        let range = match &request {
            StateRequest::Lock(wire::Lock { start, length, .. })
            | StateRequest::Unlock(wire::Unlock { start, length, .. })
            | StateRequest::LockTest(wire::LockTest { start, length, .. }) => Range::new(*start, *length),
            // Not used.
            _ => Range::new(0, 0),
        };
        let Some(range) = range else {
            let text = "the range ends beyond 2^64: use a length of 0 for the rest of the file".to_owned();
            return self.answer(by, refused(&request, Code::BadRange, text));
        };
        match (request, file) {
            (StateRequest::Open(open), Some(named)) => self.open(by, &open, named),
            (StateRequest::Lease(lease), _) => self.lease(by, &lease),
            (StateRequest::Lock(lock), _) => self.lock(by, &lock, range),
            (StateRequest::LockTest(test), _) => self.test(by, test, range),
            (request, _) => {
                let answer = self.simple(by.client, &request, range);
                match answer {
                    Some(answer) => self.answer(by, answer),
                    None => self.change(by, &request),
                }
            }
        }
    }

    /// What to enable, and where, for the request.
    fn disabled(&self, client: ClientId, request: &StateRequest, file: Option<&Named>) -> Option<String> {
        let index = match (open_of(request), file) {
            (Some(open), _) => self.table.export_of(client, OpenId(open))?,
            (None, Some(named)) => named.export,
            (None, None) => return None,
        };
        let export = self.exports.roots().get(index)?;
        let on = export.switches();
        let denies = |deny: wire::Deny| deny != wire::Deny::None && !on.shares;
        let what = match request {
            StateRequest::Open(open) if denies(open.deny) => "`shares`",
            StateRequest::OpenChange(change) if denies(change.deny) => "`shares`",
            StateRequest::Open(_) if !on.any() => "`leases`, `shares` or `locks`",
            StateRequest::Lease(_) if !on.leases => "`leases`",
            StateRequest::Lock(_) | StateRequest::LockTest(_) if !on.locks => "`locks`",
            _ => return None,
        };
        let path = export.path().display();
        Some(format!("set {what} to true for the export {path} in the daemon's configuration"))
    }

    fn answer(&mut self, by: Asker, answer: StateAnswer) {
        let (code, text) = outcome(&answer);
        self.answered_with(by.client, by.subject.as_ref(), code, text);
        self.clients.answer(by.connection, by.tag, answer);
        finish(Some(by.done));
    }

    /// What is answered at once, with DONE or EXTENDED.
    fn simple(&mut self, client: ClientId, request: &StateRequest, range: Range) -> Option<StateAnswer> {
        let now = Instant::now();
        let outcome = match request {
            StateRequest::StateReclaimed(()) => self.table.reclaimed(client, now),
            StateRequest::Close(close) => {
                let open = OpenId(close.open);
                let inode = self.table.inode_of(client, open);
                let closed = self.table.close(client, open, now);
                self.let_go(inode);
                closed
            }
            StateRequest::Return(back) => {
                let (kind, keep) = (back.kind.into(), back.keep.into());
                self.table.give_back(client, OpenId(back.open), kind, keep, now)
            }
            StateRequest::Unlock(unlock) => {
                self.table.unlock(client, OpenId(unlock.open), unlock.owner, range, now)
            }
            StateRequest::Cancel(cancel) => self.table.cancel(client, RequestId(cancel.request), now),
            StateRequest::Extend(extend) => {
                let left = self.table.extend(client, OpenId(extend.open), now);
                let (code, text) = said(&left);
                let deadline_ms = left.map_or(0, ms);
                return Some(StateAnswer::Extended(Extended { code, deadline_ms, text }));
            }
            _ => return None,
        };
        Some(answer_done(&outcome))
    }

    fn open(&mut self, by: Asker, open: &wire::Open, named: Named) {
        let Named { found, export, writable, passed } = named;
        let inode = self.files.enter(found);
        let request = OpenRequest {
            inode,
            export,
            writable,
            access: open.access.into(),
            deny: open.deny.into(),
            lease_id: LeaseId(open.lease_id.0),
            cookie: open.cookie,
            reclaim: open.terms.reclaim.then_some(OpenId(open.open)),
            advisory_ok: open.terms.advisory_ok,
            wait: open.terms.wait,
        };
        let reply = self.table.open(by.client, request, Instant::now());
        self.submit(by, reply, (Wanted::Open { file: inode.0 }, passed), open.terms.wait);
        // Refused before anything was made of it.
        if !self.table.knows(inode) {
            self.forget(inode);
        }
    }

    /// An open keeps the description that was passed for it.
    pub(super) fn keep(&mut self, kept: Option<(OpenId, OwnedFd)>) {
        let inode = kept.as_ref().and_then(|(open, _)| self.table.inode_of_open(*open));
        if let (Some(kept), Some(file)) = (kept, inode.and_then(|inode| self.files.get_mut(inode))) {
            // After a reconnection, the one passed last.
            file.passed.retain(|(open, _)| *open != kept.0);
            file.passed.push(kept);
        }
    }

    /// Descriptions of opens that have ended are closed.
    pub(super) fn let_go(&mut self, inode: Option<InodeId>) {
        if let Some(file) = inode.and_then(|inode| self.files.get_mut(inode)) {
            file.passed.retain(|(open, _)| self.table.inode_of_open(*open).is_some());
        }
    }

    fn change(&mut self, by: Asker, request: &StateRequest) {
        let StateRequest::OpenChange(change) = request else {
            let text = "this request is answered elsewhere".to_owned();
            return self.answer(by, refused(request, Code::Internal, text));
        };
        let (access, deny): (_, Deny) = (change.access.into(), change.deny.into());
        let change = ChangeRequest { open: OpenId(change.open), access, deny };
        let reply = self.table.change(by.client, change, Instant::now());
        self.submit(by, reply, (Wanted::Change, None), false);
    }

    fn lease(&mut self, by: Asker, lease: &wire::Lease) {
        let open = OpenId(lease.open);
        let request = LeaseRequest {
            open,
            kind: lease.kind.into(),
            reclaim: lease.terms.reclaim,
            advisory_ok: lease.terms.advisory_ok,
        };
        // Before the lease is there, so that no change goes unheard.
        if let Err(refusal) = self.follow(by.client, open) {
            let (code, text) = refusal;
            let request = StateRequest::Lease(lease.clone());
            return self.answer(by, refused(&request, code, text));
        }
        let reply = self.table.lease(by.client, request, Instant::now());
        self.submit(by, reply, (Wanted::Lease, None), false);
    }

    fn follow(&mut self, client: ClientId, open: OpenId) -> Result<(), (Code, String)> {
        let Some(inode) = self.table.inode_of(client, open) else { return Ok(()) };
        match (&self.outside, self.files.get_mut(inode)) {
            (Some(outside), Some(file)) => outside.follow(inode, file).map_err(|error| {
                use crate::hub::RegisterError as E;
                let code = match error {
                    E::NoSlots => Code::NoSlots,
                    E::Limit => Code::Limit,
                    E::Unsupported => Code::Unsupported,
                    E::Kernel => Code::Internal,
                };
                (code, error.to_string())
            }),
            _ => Ok(()),
        }
    }

    fn lock(&mut self, by: Asker, lock: &wire::Lock, range: Range) {
        let request = LockRequest {
            open: OpenId(lock.open),
            owner: lock.owner,
            kind: lock.kind.into(),
            range,
            wait: lock.terms.wait,
            reclaim: lock.terms.reclaim,
            advisory_ok: lock.terms.advisory_ok,
        };
        let reply = self.table.lock(by.client, request, Instant::now());
        let wanted = Wanted::Lock { open: lock.open, owner: lock.owner };
        self.submit(by, reply, (wanted, None), lock.terms.wait);
    }

    fn test(&mut self, by: Asker, test: wire::LockTest, range: Range) {
        let (client, open) = (by.client, OpenId(test.open));
        let found = self.table.test_lock(client, (open, test.owner), test.kind.into(), range, Instant::now());
        match found {
            Err(refusal) => {
                let (code, text) = said::<()>(&Err(refusal));
                self.answer(by, refused(&StateRequest::LockTest(test), code, text));
            }
            Ok(Some((kind, range, who))) => {
                let found = (Code::Conflict, kind.into(), range.into(), who.into());
                self.answer(by, blocker(Some(found), &test));
            }
            Ok(None) => {
                let inode: Option<InodeId> = self.table.inode_of(client, open);
                let owner = Owner { client, number: test.owner };
                let Asker { connection, tag, done, .. } = by;
                self.test_range(inode, owner, range, Test { connection, tag, asked: test, done });
            }
        }
    }

    /// Answers now, or when the table says so.
    fn submit(&mut self, by: Asker, reply: Reply, (wanted, passed): (Wanted, Option<OwnedFd>), wait: bool) {
        let Asker { connection, client, tag, subject, done } = by;
        match reply {
            Reply::Now(outcome) => {
                self.concluded(client, subject.as_ref(), &outcome);
                let pending = Pending { connection, tag, wanted, subject, passed, done: Some(done) };
                let kept = self.clients.answer_pending(pending, &outcome);
                self.keep(kept);
                self.carry_out();
            }
            Reply::Later(request) => {
                let pending = Pending { connection, tag, wanted, subject, passed, done: Some(done) };
                self.clients.wait(request, pending);
                self.carry_out();
                if wait {
                    self.clients.say_waiting(request);
                }
            }
        }
    }
}
