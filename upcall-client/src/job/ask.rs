//! Requests of one frame: SYNC, PING, STATUS.

use std::time::{Duration, Instant};

use bytes::Bytes;
use upcall_common::wire::Message;

use super::{End, Job, Limits, Reply, Request, mismatch, reply};
use crate::engine::State;
use crate::error::Error;

/// A question and how its answer becomes a `T`.
pub(crate) struct Ask<T> {
    question: Option<Message>,
    accept: fn(Message, Instant) -> Option<T>,
    asked: Instant,
    accepted: Option<T>,
    requester: Option<Reply<T>>,
}

impl<T> Ask<T> {
    fn new(
        question: Message,
        accept: fn(Message, Instant) -> Option<T>,
        requester: Option<Reply<T>>,
    ) -> Self {
        Self { question: Some(question), accept, asked: Instant::now(), accepted: None, requester }
    }
}

impl Ask<()> {
    pub(crate) fn sync(requester: Reply<()>) -> Self {
        Self::new(Message::Sync, |answer, _| matches!(answer, Message::Synced).then_some(()), Some(requester))
    }
}

impl Ask<Duration> {
    /// Without a requester: only to see that the daemon answers.
    pub(crate) fn ping(requester: Option<Reply<Duration>>) -> Self {
        let accept = |answer, asked: Instant| matches!(answer, Message::Pong(_)).then(|| asked.elapsed());
        Self::new(Message::Ping(Bytes::new()), accept, requester)
    }
}

impl Ask<String> {
    pub(crate) fn status(requester: Reply<String>) -> Self {
        let accept = |answer, _| match answer {
            Message::StatusReply(json) => Some(json),
            _ => None,
        };
        Self::new(Message::Status, accept, Some(requester))
    }
}

impl<T: Send> Job for Ask<T> {
    fn next_frame(&mut self, _: &mut State, _: &Limits) -> Option<Request> {
        self.asked = Instant::now();
        Some((self.question.take()?, Vec::new()))
    }

    fn answer(&mut self, message: Message, _: &mut State) -> Result<(), Error> {
        self.accepted = Some((self.accept)(message, self.asked).ok_or_else(mismatch)?);
        Ok(())
    }

    fn give_up(&mut self, error: Error) {
        reply(&mut self.requester, Err(error));
    }

    fn end(mut self: Box<Self>, end: End, _: &mut State) -> Option<Box<dyn Job>> {
        let result = match self.accepted {
            Some(accepted) => Ok(accepted),
            None => Err(end.result(()).err().unwrap_or(Error::Disconnected)),
        };
        reply(&mut self.requester, result);
        None
    }
}
