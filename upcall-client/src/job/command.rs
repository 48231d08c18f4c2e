//! What the handle asks of the background task.

use std::time::Duration;

use tokio::sync::oneshot;

use super::register::Register;
use super::renew::Renew;
use super::unregister::Unregister;
use super::{Ask, Job};
use crate::engine::State;
use crate::error::{Error, ItemError};
use crate::{Registered, Watch};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;
pub(crate) type Outcomes<T> = Vec<Result<T, ItemError>>;

pub(crate) enum Command {
    Register(Vec<Watch>, Reply<Outcomes<Registered>>),
    Unregister(Vec<u64>, Reply<Outcomes<()>>),
    /// Interests with lifetimes in milliseconds.
    Renew(Vec<(u64, u32)>, Reply<Outcomes<()>>),
    Sync(Reply<()>),
    Ping(Reply<Duration>),
    Status(Reply<String>),
    /// About held state.
    State(Box<dyn Job>),
}

impl Command {
    pub(crate) fn into_job(self, state: &mut State) -> Box<dyn Job> {
        match self {
            Self::Register(watches, reply) => Box::new(Register::new(watches, reply)),
            Self::Unregister(interests, reply) => Box::new(Unregister::new(interests, Some(reply), state)),
            Self::Renew(interests, reply) => Box::new(Renew::new(interests, reply, state)),
            Self::Sync(reply) => Box::new(Ask::sync(reply)),
            Self::Ping(reply) => Box::new(Ask::ping(Some(reply))),
            Self::Status(reply) => Box::new(Ask::status(reply)),
            Self::State(job) => job,
        }
    }

    /// Answers without doing anything. A requester that has gone need not know.
    pub(crate) fn fail(self, error: Error) {
        let _gone = match self {
            Self::State(mut job) => {
                job.give_up(error);
                false
            }
            Self::Register(_, reply) => reply.send(Err(error)).is_err(),
            Self::Unregister(_, reply) | Self::Renew(_, reply) => reply.send(Err(error)).is_err(),
            Self::Sync(reply) => reply.send(Err(error)).is_err(),
            Self::Ping(reply) => reply.send(Err(error)).is_err(),
            Self::Status(reply) => reply.send(Err(error)).is_err(),
        };
    }
}
