//! Holds state for clients: puts together the table that decides ([`crate::state`]), the kernel's means
//! ([`crate::hold`]), and the connections that ask and are told.
//!
//! One task owns it all, so nothing is locked, and nothing in it waits: opening files and looking through `/proc`
//! happens on threads, waiting for local locks by timers, each of which tells the task its outcome.

mod clients;
mod convert;
mod effects;
mod files;
mod found;
mod journal;
mod kernel;
mod outside;
mod requests;
mod run;
mod show;
mod totals;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use upcall_common::wire::{Code, Identity, StateAnswer, StateRequest};

use crate::{server::Link, state::Connection};

pub use convert::refused;
pub use found::{FileKey, Found, Named};
pub use run::{Settings, Started, start};
pub use show::{Page, Position, Query};

pub use crate::state::Switches;

enum Command {
    /// `done`: whether it has begun.
    Begin {
        begin: Begin,
        done: oneshot::Sender<bool>,
    },
    Ask {
        ask: Ask,
        done: oneshot::Sender<()>,
    },
    Show {
        query: Query,
        from: Option<Position>,
        page: oneshot::Sender<Page>,
    },
    Summary {
        shown: oneshot::Sender<Value>,
    },
}

struct Begin {
    connection: Connection,
    link: Link,
    identity: Identity,
    uid: u32,
    name: String,
    tag: u32,
    /// Resolves when the connection is over.
    alive: oneshot::Receiver<Infallible>,
}

struct Ask {
    connection: Connection,
    tag: u32,
    request: StateRequest,
    /// Of an OPEN.
    file: Option<Named>,
}

/// Requests that may wait for the task; who asks then waits as well.
const BACKLOG: usize = 256;

/// The way to the task.
#[derive(Clone)]
pub struct Arbiter {
    commands: mpsc::Sender<Command>,
    connections: Arc<AtomicU64>,
}

/// A connection that has begun; its end is the connection's.
#[derive(Debug)]
pub struct Begun {
    connection: Connection,
    _alive: oneshot::Sender<Infallible>,
}

impl Arbiter {
    fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(BACKLOG);
        (Self { commands, connections: Arc::default() }, received)
    }

    /// Answered by `link`; `None` if it is refused.
    pub async fn begin(
        &self,
        link: Link,
        identity: Identity,
        uid: u32,
        name: String,
        tag: u32,
    ) -> Option<Begun> {
        let connection = Connection(self.connections.fetch_add(1, Ordering::Relaxed));
        let (end, alive) = oneshot::channel();
        let begin = Begin { connection, link, identity, uid, name, tag, alive };
        let begun = self.tell(|done| Command::Begin { begin, done }).await;
        (begun == Some(true)).then_some(Begun { connection, _alive: end })
    }

    /// Answered by the connection's link, before this returns.
    pub async fn ask(&self, begun: &Begun, tag: u32, request: StateRequest, file: Option<Named>) {
        let ask = Ask { connection: begun.connection, tag, request, file };
        self.tell(|done| Command::Ask { ask, done }).await;
    }

    /// What is held, from the beginning or from where the page before ended. `None` when the daemon ends.
    pub async fn show(&self, query: Query, from: Option<Position>) -> Option<Page> {
        let (page, shown) = oneshot::channel();
        self.commands.send(Command::Show { query, from, page }).await.ok()?;
        shown.await.ok()
    }

    /// How much is held, and what has happened so far.
    pub async fn summary(&self) -> Option<Value> {
        let (shown, summary) = oneshot::channel();
        self.commands.send(Command::Summary { shown }).await.ok()?;
        summary.await.ok()
    }

    /// `None` when the daemon ends, or when the connection has been taken over: the session learns of either.
    async fn tell<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (done, answered) = oneshot::channel();
        self.commands.send(command(done)).await.ok()?;
        answered.await.ok()
    }
}

/// The answer to a request that is refused before it comes here.
pub fn refusal(request: &StateRequest, code: Code, text: impl Into<String>) -> StateAnswer {
    convert::refused(request, code, text.into())
}
