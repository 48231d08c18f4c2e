//! Requests: each knows its frames and what their answers mean. Pure logic; the engine does the I/O.

mod ask;
mod batch;
mod command;
mod register;
mod renew;
mod restore;
pub(crate) mod state;
mod unregister;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use upcall_common::wire::Message;

pub(crate) use self::ask::Ask;
pub(crate) use self::batch::Limits;
pub(crate) use self::command::{Command, Outcomes, Reply};
pub(crate) use self::restore::Restore;
use crate::engine::State;
use crate::error::{Error, ItemError};

/// A frame to send, with the descriptors that go with it.
pub(crate) type Request = (Message, Vec<Arc<OwnedFd>>);

/// A request under way.
pub(crate) trait Job: Send {
    /// The next frame; `None`: none before the next answer. It is done when there is none and all are answered.
    fn next_frame(&mut self, state: &mut State, limits: &Limits) -> Option<Request>;

    /// How many frames may be under way.
    fn window(&self) -> usize {
        1
    }

    /// Takes in the answer to the earliest frame that has none.
    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error>;

    /// Whether the answer that was taken in goes on in another message.
    fn expects_more(&self) -> bool {
        false
    }

    /// That frame is refused as a whole. An error ends the request.
    fn refused(&mut self, error: Error, _: &mut State) -> Result<(), Error> {
        Err(error)
    }

    /// Tells the requester that it need not wait; the answer will still be taken in.
    fn give_up(&mut self, error: Error);

    /// Tells the requester how it ended. Returns what must be done to clean up.
    fn end(self: Box<Self>, end: End, state: &mut State) -> Option<Box<dyn Job>>;

    /// Whether interests are not live until this is done: when it is refused, the connection is useless.
    fn is_restore(&self) -> bool {
        false
    }
}

/// How a job ends.
#[derive(Debug)]
pub(crate) enum End {
    Done,
    Refused(Error),
    Disconnected,
}

impl End {
    /// What the requester is told, where nothing needs distinction.
    fn result<T>(self, done: T) -> Result<T, Error> {
        match self {
            Self::Done => Ok(done),
            Self::Refused(error) => Err(error),
            Self::Disconnected => Err(Error::Disconnected),
        }
    }
}

/// Answers a requester that may not wait any more. Returns whether it was there.
fn reply<T>(to: &mut Option<Reply<T>>, result: Result<T, Error>) -> bool {
    to.take().is_some_and(|to| to.send(result).is_ok())
}

/// The answers to `sent` requests, when there are as many.
fn paired<K, A>(sent: &mut Vec<K>, answers: Vec<A>) -> Result<impl Iterator<Item = (K, A)>, Error> {
    let sent = std::mem::take(sent);
    if sent.len() != answers.len() {
        return Err(Error::unexpected("an answer has another number of items than its request"));
    }
    Ok(sent.into_iter().zip(answers))
}

/// Sets the outcome of the item at `place`.
fn settle<T>(outcomes: &mut [Result<T, ItemError>], place: usize, outcome: Result<T, ItemError>) {
    if let Some(entry) = outcomes.get_mut(place) {
        *entry = outcome;
    }
}

fn mismatch() -> Error {
    Error::unexpected("an answer is of another type than its request calls for")
}
