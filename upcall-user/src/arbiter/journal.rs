//! What happens is counted, and shown to whoever looks (`upcall debug`).

use std::{sync::Arc, time::Duration};

use nix::time::{ClockId, clock_gettime};
use tokio::sync::broadcast;
use upcall_common::wire::{self, Code, StateRequest};

use super::{Found, Named, convert::said, run::Task, totals::Totals};
use crate::{
    events::{Event, SharedEvent, StateEvent, StateOp, What, Whom},
    state::{ClientId, Granted, InodeId, OpenId, Refusal, Who},
};

pub(super) struct Journal {
    pub(super) totals: Totals,
    out: broadcast::Sender<SharedEvent>,
}

/// What an event is of.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// What happens if it is granted.
    op: StateOp,
    file: Option<Arc<Found>>,
    open: u64,
    what: Option<What>,
}

impl Journal {
    pub(super) fn new(out: broadcast::Sender<SharedEvent>) -> Self {
        Self { totals: Totals::default(), out }
    }

    /// `event` is made only if somebody looks.
    fn note(&mut self, op: StateOp, what: Option<&What>, event: impl FnOnce() -> StateEvent) {
        self.totals.count(op, what);
        if self.out.receiver_count() > 0 {
            // Whoever looked may have gone.
            let _ = self.out.send(Arc::new(Event::State(event())));
        }
    }
}

impl Task {
    /// `None`: nothing to show.
    pub(super) fn subject(
        &self,
        client: ClientId,
        request: &StateRequest,
        named: Option<&Named>,
    ) -> Option<Subject> {
        let open = open_of(request).unwrap_or_default();
        let inode = self.table.inode_of(client, OpenId(open));
        let file = named.map(|named| &named.found);
        let file = file.or_else(|| inode.and_then(|inode| self.files.get(inode)).map(|file| &file.found));
        let (op, what) = happens(request)?;
        Some(Subject { op, file: file.cloned(), open, what })
    }

    /// What became of a request.
    pub(super) fn concluded(
        &mut self,
        client: ClientId,
        subject: Option<&Subject>,
        outcome: &Result<Granted, Refusal>,
    ) {
        let (code, text) = said(outcome);
        let opened = match *outcome {
            Ok(Granted::Opened { open, .. }) => Some(open.0),
            _ => None,
        };
        let advisory = matches!(
            outcome,
            Ok(Granted::Opened { advisory: true, .. }
                | Granted::Changed { advisory: true }
                | Granted::Leased { advisory: true, .. }
                | Granted::Locked { advisory: true })
        );
        let text = if advisory { "advisory" } else { &text };
        let subject =
            subject.map(|subject| Subject { open: opened.unwrap_or(subject.open), ..subject.clone() });
        self.answered_with(client, subject.as_ref(), code, text);
    }

    /// That a request was answered so.
    pub(super) fn answered_with(
        &mut self,
        client: ClientId,
        subject: Option<&Subject>,
        code: Code,
        text: &str,
    ) {
        let Some(subject) = subject else { return };
        let op = if code.is_ok() { subject.op } else { StateOp::Refuse };
        self.note(op, client, subject, |event| {
            event.code = (!code.is_ok()).then(|| code.as_str());
            event.text = (!text.is_empty()).then(|| text.to_owned());
        });
    }

    /// Something that a client has not asked for.
    pub(super) fn befell(
        &mut self,
        (op, client, open): (StateOp, ClientId, OpenId),
        what: What,
        who: Who,
        deadline: Option<Duration>,
    ) {
        let inode = self.table.inode_of_open(open);
        let file = inode.and_then(|inode| self.files.get(inode)).map(|file| Arc::clone(&file.found));
        let subject = Subject { op, file, open: open.0, what: Some(what) };
        self.note(op, client, &subject, |event| {
            event.who = whom(who);
            event.deadline_ms = deadline.map(super::convert::ms);
        });
    }

    /// An open was not reclaimed; its client may be gone, too.
    pub(super) fn lapsed(&mut self, client: Who, open: OpenId, inode: InodeId) {
        let file = self.files.get(inode).map(|file| Arc::clone(&file.found));
        let subject = Subject { op: StateOp::Lapse, file, open: open.0, what: None };
        let name = match client {
            Who::Client(name) => Some(name),
            _ => None,
        };
        self.journal.note(StateOp::Lapse, None, || event(StateOp::Lapse, name, 0, &subject));
    }

    fn note(&mut self, op: StateOp, client: ClientId, subject: &Subject, fill: impl FnOnce(&mut StateEvent)) {
        let (table, clients) = (&self.table, &self.clients);
        self.journal.note(op, subject.what.as_ref(), || {
            let name = table.client(client).map(|client| client.name.to_owned());
            let mut event = event(op, name, clients.pid(client), subject);
            fill(&mut event);
            event
        });
    }
}

fn event(op: StateOp, client: Option<String>, pid: u32, subject: &Subject) -> StateEvent {
    let Subject { file, open, what, .. } = subject;
    // It cannot fail.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    StateEvent {
        time: now.as_secs_f64(),
        op,
        client,
        pid,
        path: file.as_ref().and_then(|file| file.path()),
        open: *open,
        what: *what,
        who: None,
        code: None,
        text: None,
        deadline_ms: None,
    }
}

pub(super) fn whom(who: Who) -> Option<Whom> {
    match who {
        Who::Unknown => None,
        Who::Process(pid) => Some(Whom::Pid(pid)),
        Who::Client(name) => Some(Whom::Client(name)),
    }
}

/// The open that a request is about.
pub(super) const fn open_of(request: &StateRequest) -> Option<u64> {
    match request {
        StateRequest::OpenChange(wire::OpenChange { open, .. })
        | StateRequest::Close(wire::Close { open })
        | StateRequest::Lease(wire::Lease { open, .. })
        | StateRequest::Return(wire::Return { open, .. })
        | StateRequest::Extend(wire::Extend { open })
        | StateRequest::Lock(wire::Lock { open, .. })
        | StateRequest::Unlock(wire::Unlock { open, .. })
        | StateRequest::LockTest(wire::LockTest { open, .. }) => Some(*open),
        _ => None,
    }
}

/// What a request does once it is granted.
fn happens(request: &StateRequest) -> Option<(StateOp, Option<What>)> {
    let of = |op, what| Some((op, Some(what)));
    match request {
        StateRequest::Open(wire::Open { access, deny, .. })
        | StateRequest::OpenChange(wire::OpenChange { access, deny, .. }) => {
            of(StateOp::Grant, What::Open { access: access.as_str(), deny: deny.as_str() })
        }
        StateRequest::Close(_) => Some((StateOp::Close, None)),
        StateRequest::Lease(lease) => of(StateOp::Grant, What::Lease { kind: lease.kind.as_str() }),
        StateRequest::Return(back) => of(StateOp::Return, What::Lease { kind: back.kind.as_str() }),
        StateRequest::Extend(_) => Some((StateOp::Extend, None)),
        StateRequest::Lock(wire::Lock { owner, kind, start, length, .. }) => {
            let (owner, start, length, kind) = (*owner, *start, *length, Some(kind.as_str()));
            of(StateOp::Grant, What::Lock { owner, kind, start, length })
        }
        StateRequest::Unlock(wire::Unlock { owner, start, length, .. }) => {
            let (owner, start, length) = (*owner, *start, *length);
            of(StateOp::Unlock, What::Lock { owner, kind: None, start, length })
        }
        // They change nothing.
        _ => None,
    }
}
