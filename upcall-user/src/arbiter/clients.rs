//! Connections that have begun, and what they wait for.

use std::{collections::HashMap, os::fd::OwnedFd};

use tokio::sync::oneshot;
use upcall_common::wire::{Message, StateAnswer, StateUpcall};

use super::{convert::Wanted, journal::Subject};
use crate::{
    server::Link,
    state::{ClientId, Connection, Granted, OpenId, Refusal, RequestId},
};

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) connection: Connection,
    pub(super) tag: u32,
    pub(super) wanted: Wanted,
    pub(super) subject: Option<Subject>,
    /// Of an open, which is to keep it.
    pub(super) passed: Option<OwnedFd>,
    /// Gone once it has been answered that it waits.
    pub(super) done: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    links: HashMap<Connection, (ClientId, Link)>,
    connections: HashMap<ClientId, Connection>,
    pending: HashMap<RequestId, Pending>,
}

impl Clients {
    pub(super) fn insert(&mut self, client: ClientId, connection: Connection, link: Link) {
        self.links.insert(connection, (client, link));
        self.connections.insert(client, connection);
    }

    /// Forgets a connection and what it waits for.
    pub(super) fn remove(&mut self, connection: Connection) -> Option<(ClientId, Link)> {
        let (client, link) = self.links.remove(&connection)?;
        // Another one may have taken over.
        if self.connections.get(&client) == Some(&connection) {
            self.connections.remove(&client);
        }
        self.pending.retain(|_, pending| pending.connection != connection);
        Some((client, link))
    }

    pub(super) fn of(&self, connection: Connection) -> Option<ClientId> {
        self.links.get(&connection).map(|(client, _)| *client)
    }

    pub(super) fn link(&self, client: ClientId) -> Option<&Link> {
        let connection = self.connections.get(&client)?;
        self.links.get(connection).map(|(_, link)| link)
    }

    /// Of a client's process; 0: not known.
    pub(super) fn pid(&self, client: ClientId) -> u32 {
        self.link(client).map_or(0, Link::pid)
    }

    pub(super) fn subject(&self, request: RequestId) -> Option<Subject> {
        self.pending.get(&request)?.subject.clone()
    }

    pub(super) fn answer(&self, connection: Connection, tag: u32, answer: StateAnswer) {
        if let Some((_, link)) = self.links.get(&connection) {
            link.tell(&Message::StateAnswer(answer), tag);
        }
    }

    pub(super) fn tell(&self, client: ClientId, upcall: StateUpcall) {
        if let Some(link) = self.link(client) {
            link.tell(&Message::StateUpcall(upcall), 0);
        }
    }

    pub(super) fn wait(&mut self, request: RequestId, pending: Pending) {
        self.pending.insert(request, pending);
    }

    /// Answers that a request waits, unless it has been answered, or the protocol has no such answer.
    pub(super) fn say_waiting(&mut self, request: RequestId) {
        let Some(pending) = self.pending.get_mut(&request) else { return };
        let (connection, tag) = (pending.connection, pending.tag);
        let Some(answer) = pending.wanted.waiting(request.0) else { return };
        let done = pending.done.take();
        self.answer(connection, tag, answer);
        finish(done);
    }

    /// The outcome of a request that was not answered at once.
    pub(super) fn end(
        &mut self,
        request: RequestId,
        outcome: &Result<Granted, Refusal>,
    ) -> Option<(OpenId, OwnedFd)> {
        let pending = self.pending.remove(&request)?;
        if pending.done.is_some() {
            return self.answer_pending(pending, outcome);
        }
        if let Some((_, link)) = self.links.get(&pending.connection)
            && let Some(upcall) = pending.wanted.upcall(request.0, outcome)
        {
            link.tell(&Message::StateUpcall(upcall), 0);
        }
        kept(pending.passed, outcome)
    }

    /// What the open that was made is to keep.
    pub(super) fn answer_pending(
        &self,
        pending: Pending,
        outcome: &Result<Granted, Refusal>,
    ) -> Option<(OpenId, OwnedFd)> {
        self.answer(pending.connection, pending.tag, pending.wanted.answer(outcome));
        finish(pending.done);
        kept(pending.passed, outcome)
    }
}

fn kept(passed: Option<OwnedFd>, outcome: &Result<Granted, Refusal>) -> Option<(OpenId, OwnedFd)> {
    match outcome {
        Ok(Granted::Opened { open, .. }) => passed.map(|passed| (*open, passed)),
        _ => None,
    }
}

/// The answer is on its way: the session goes on.
pub(super) fn finish(done: Option<oneshot::Sender<()>>) {
    // The session may have ended.
    let _ = done.map(|done| done.send(()));
}
