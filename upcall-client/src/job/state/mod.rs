//! Requests about held state: one frame each; the answer to a query may be several.

mod lock;
mod open;
mod reclaim;
mod session;

use upcall_common::wire::{Code, Done, Message, StateAnswer, StateRequest};

pub(crate) use self::lock::{Cancel, Lock, TestLock, Unlock};
pub(crate) use self::open::{Change, Close, Extend, GiveBack, Lease, Open};
pub(crate) use self::reclaim::Reclaim;
pub(crate) use self::session::{Begin, Query};
use super::{End, Job, Limits, Reply, Request, mismatch, reply};
use crate::engine::State;
use crate::error::Error;
use crate::state::Holdings;

/// A question, and what its answer means.
pub(crate) trait Question: Send + 'static {
    type Outcome: Send;

    /// The outcome, where the daemon need not be asked.
    fn known(&self, _: &Holdings) -> Option<Self::Outcome> {
        None
    }

    /// The frame to send, or why none is sent.
    fn ask(&mut self, held: &mut Holdings, limits: &Limits) -> Result<Request, Error>;

    /// `None`: it is no answer to this question.
    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<Self::Outcome, Error>>;

    /// Whether the answer goes on in another message; until then there is no outcome.
    fn expects_more(&self) -> bool {
        false
    }

    /// The outcome when the connection breaks before the answer. What is given up is not reclaimed then.
    fn broken(&mut self, _: &mut Holdings) -> Result<Self::Outcome, Error> {
        Err(Error::Disconnected)
    }

    /// What undoes an outcome that nobody hears of.
    fn undo(_: Self::Outcome) -> Option<Box<dyn Job>> {
        None
    }
}

/// A question under way.
pub(crate) struct Asked<Q: Question> {
    question: Q,
    sent: bool,
    outcome: Option<Result<Q::Outcome, Error>>,
    requester: Option<Reply<Q::Outcome>>,
}

impl<Q: Question> Asked<Q> {
    pub(crate) fn new(question: Q, requester: Option<Reply<Q::Outcome>>) -> Self {
        Self { question, sent: false, outcome: None, requester }
    }
}

impl<Q: Question> Job for Asked<Q> {
    fn next_frame(&mut self, state: &mut State, limits: &Limits) -> Option<Request> {
        if std::mem::replace(&mut self.sent, true) {
            return None;
        }
        if let Some(outcome) = self.question.known(&state.held) {
            self.outcome = Some(Ok(outcome));
            return None;
        }
        match self.question.ask(&mut state.held, limits) {
            Ok(request) => Some(request),
            Err(error) => {
                self.outcome = Some(Err(error));
                None
            }
        }
    }

    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error> {
        let Message::StateAnswer(answer) = message else { return Err(mismatch()) };
        let outcome = self.question.accept(answer, &mut state.held).ok_or_else(mismatch)?;
        self.outcome = (!self.question.expects_more()).then_some(outcome);
        Ok(())
    }

    fn expects_more(&self) -> bool {
        self.question.expects_more()
    }

    fn give_up(&mut self, error: Error) {
        reply(&mut self.requester, Err(error));
    }

    fn end(mut self: Box<Self>, end: End, state: &mut State) -> Option<Box<dyn Job>> {
        let outcome = match (self.outcome.take(), end) {
            (Some(outcome), _) => outcome,
            (None, End::Refused(error)) => Err(error),
            (None, _) => self.question.broken(&mut state.held),
        };
        match (self.requester.take(), outcome) {
            (Some(requester), outcome) => requester.send(outcome).err()?.ok().and_then(Q::undo),
            (None, Ok(outcome)) => Q::undo(outcome),
            (None, Err(_)) => None,
        }
    }
}

fn frame(request: StateRequest) -> Request {
    (Message::StateRequest(request), Vec::new())
}

/// A refusal, unless `code` is none.
fn check(code: Code, message: String) -> Result<(), Error> {
    if code.is_ok() { Ok(()) } else { Err(refused(code, message)) }
}

fn refused(code: Code, message: impl Into<String>) -> Error {
    Error::Refused { code, message: message.into() }
}

fn done(answer: StateAnswer) -> Option<Result<(), Error>> {
    match answer {
        StateAnswer::Done(Done { code, text }) => Some(check(code, text)),
        _ => None,
    }
}

/// The daemon's number of an open.
fn number(held: &Holdings, open: u64) -> Result<u64, Error> {
    held.number(open).ok_or_else(|| refused(Code::NotOpen, "this client has no such open"))
}
