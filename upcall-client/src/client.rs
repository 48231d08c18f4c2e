//! The handle with which a program makes requests.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use upcall_common::wire::Identity;

use crate::engine::Engine;
use crate::error::{Error, ItemError};
use crate::events::Events;
use crate::job::{Command, Reply, state};
use crate::named::Named;
use crate::net::Connection;
use crate::notice::Upcalls;
use crate::watch::millis;
use crate::{Address, Options, Registered, StateClient, Watch};

/// Requests that may wait for the background task.
const COMMANDS: usize = 16;

/// A connection to the daemon that mends itself. Clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    address: Address,
    options: Options,
    /// Keeps the background task alive.
    _alive: mpsc::Sender<Infallible>,
}

impl Client {
    /// Connects. Must be called within a tokio runtime with I/O and time enabled.
    pub async fn connect(address: &Address, options: Options) -> Result<(Self, Upcalls), Error> {
        let connection = Connection::open(address, &options).await?;
        let (commands, commands_in) = mpsc::channel(COMMANDS);
        let (notices_out, notices) = mpsc::channel(options.notice_capacity.max(1));
        let (alive, mut gone) = mpsc::channel(1);
        let engine = Engine::new(address.clone(), options.clone(), commands_in, notices_out);
        tokio::spawn(async move {
            tokio::select! {
                () = engine.run(connection) => {}
                _ = gone.recv() => {}
            }
        });
        let client = Self { commands, address: address.clone(), options, _alive: alive.clone() };
        Ok((client, Upcalls { notices, _alive: alive }))
    }

    /// Makes an interest of each watch; one outcome each, in order. What changes after this has returned is
    /// told; what is read after this has returned is as new as the outcome's version or newer. Its first
    /// upcall may be there before this returns. When the future is dropped before the answer has come, none of the
    /// interests is made; as it comes, they may be made all the same.
    pub async fn register(&self, watches: Vec<Watch>) -> Result<Vec<Result<Registered, ItemError>>, Error> {
        self.request(|reply| Command::Register(watches, reply)).await
    }

    /// Ends interests; one outcome each, in order. Upcalls on their way may still be read.
    pub async fn unregister(&self, interests: Vec<u64>) -> Result<Vec<Result<(), ItemError>>, Error> {
        self.request(|reply| Command::Unregister(interests, reply)).await
    }

    /// Gives interests a new lifetime from now on, or none; one outcome each, in order.
    pub async fn renew(
        &self,
        interests: Vec<(u64, Option<Duration>)>,
    ) -> Result<Vec<Result<(), ItemError>>, Error> {
        let interests =
            interests.into_iter().map(|(interest, lifetime)| (interest, millis(lifetime))).collect();
        self.request(|reply| Command::Renew(interests, reply)).await
    }

    /// Returns once every upcall for changes that are complete by now can be read from [`Upcalls`]. An error
    /// promises nothing: after [`Disconnected`](Error::Disconnected), wait for
    /// [`Reconnected`](crate::Notice::Reconnected) and ask again.
    pub async fn sync(&self) -> Result<(), Error> {
        self.request(Command::Sync).await
    }

    /// How long the daemon takes to answer.
    pub async fn ping(&self) -> Result<Duration, Error> {
        self.request(Command::Ping).await
    }

    /// The daemon's state, a JSON object. For operators.
    pub async fn status(&self) -> Result<String, Error> {
        self.request(Command::Status).await
    }

    /// Live events that pass `filter`, a JSON object. For operators. Uses a connection of its own.
    pub async fn events(&self, filter: impl Into<String>) -> Result<Events, Error> {
        Events::open(&self.address, &self.options, filter.into()).await
    }

    /// Begins to hold opens, leases and locks in the daemon. `identity`, random, is by which the daemon knows the client
    /// again after a reconnection; it belongs to this client's user, and is this client's alone: another one that
    /// begins with it takes over. Begins again where the identity was refused, or lost after a reconnection. Where it is
    /// held already, the outcome is another handle of the same.
    ///
    /// # Errors
    /// [`NoState`](Error::NoState); [`Begun`](Error::Begun) with another identity; [`Refused`](Error::Refused) with
    /// `identity_in_use` or `too_many_clients`.
    pub async fn begin_state(&self, identity: Identity) -> Result<StateClient, Error> {
        let begun = self.ask(state::Begin { identity }).await?;
        Ok(StateClient::new(self.clone(), begun))
    }

    /// What clients hold: of the file at `path`, or everything. JSON objects, each of which shows a part. For operators,
    /// and for what this client holds itself.
    pub async fn query_state(&self, path: Option<PathBuf>) -> Result<Vec<String>, Error> {
        self.ask(state::Query::new(path.map(Named::path))).await
    }

    pub(crate) async fn ask<Q: state::Question>(&self, question: Q) -> Result<Q::Outcome, Error> {
        self.request(|reply| Command::State(Box::new(state::Asked::new(question, Some(reply))))).await
    }

    async fn request<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}
