//! Opens and leases.

use std::time::Duration;

use upcall_common::wire::{
    self, Access, Code, Deny, Extended, Keep, LeaseKind, Leased, Message, OpenChange, Return, StateAnswer,
    StateRequest,
};

use super::lock::Cancel;
use super::{Asked, Job, Limits, Question, Request, check, done, frame, number, refused};
use crate::error::Error;
use crate::state::{Grant, Held, Holdings, OpenRequest, Opened, Wanted};

pub(crate) struct Open {
    /// Taken once it is granted or waits.
    request: Option<OpenRequest>,
}

impl Open {
    pub(crate) fn new(request: OpenRequest) -> Self {
        Self { request: Some(request) }
    }
}

impl Question for Open {
    type Outcome = Grant<Opened>;

    fn ask(&mut self, held: &mut Holdings, limits: &Limits) -> Result<Request, Error> {
        if held.identity().is_none() {
            return Err(refused(Code::NotBegun, "the identity was lost with the connection"));
        }
        let Some(request) = &self.request else { return Err(Error::Disconnected) };
        if let Some(code) = request.target.unsendable(limits.descriptors) {
            return Err(refused(code, "no frame can name this file"));
        }
        Ok((
            Message::StateRequest(StateRequest::Open(request.first())),
            request.target.file().cloned().into_iter().collect(),
        ))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<Grant<Opened>, Error>> {
        let StateAnswer::Opened(wire::Opened { code, flags, open, file, request, text }) = answer else {
            return None;
        };
        let wanted = self.request.take()?;
        Some(match code {
            Code::Waiting => Ok(Grant::Waiting(held.wait(request, Wanted::Open(wanted)))),
            code => check(code, text).map(|()| {
                Grant::Granted(Opened { open: held.insert(wanted, open, file), advisory: flags.advisory })
            }),
        })
    }

    fn undo(outcome: Grant<Opened>) -> Option<Box<dyn Job>> {
        Some(match outcome {
            Grant::Granted(opened) => Box::new(Asked::new(Close { open: opened.open }, None)),
            Grant::Waiting(request) => Box::new(Asked::new(Cancel { request }, None)),
        })
    }
}

pub(crate) struct Change {
    pub(crate) open: u64,
    pub(crate) access: Access,
    pub(crate) deny: Deny,
}

impl Question for Change {
    type Outcome = ();

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let Self { access, deny, .. } = *self;
        Ok(frame(StateRequest::OpenChange(OpenChange { open: number(held, self.open)?, access, deny })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<(), Error>> {
        let outcome = done(answer)?;
        if outcome.is_ok() {
            held.set_modes(self.open, self.access, self.deny);
        }
        Some(outcome)
    }

    fn broken(&mut self, held: &mut Holdings) -> Result<(), Error> {
        held.narrow(self.open, self.access, self.deny);
        Err(Error::Disconnected)
    }
}

pub(crate) struct Close {
    pub(crate) open: u64,
}

impl Question for Close {
    type Outcome = ();

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let open = number(held, self.open)?;
        held.remove(self.open);
        Ok(frame(StateRequest::Close(wire::Close { open })))
    }

    fn accept(&mut self, answer: StateAnswer, _: &mut Holdings) -> Option<Result<(), Error>> {
        done(answer)
    }

    fn broken(&mut self, _: &mut Holdings) -> Result<(), Error> {
        Ok(())
    }
}

pub(crate) struct Lease {
    pub(crate) open: u64,
    pub(crate) kind: LeaseKind,
}

impl Question for Lease {
    type Outcome = Held;

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let open = number(held, self.open)?;
        let terms = held.terms(self.open);
        Ok(frame(StateRequest::Lease(wire::Lease { open, kind: self.kind, terms })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<Held, Error>> {
        let StateAnswer::Leased(Leased { code, flags, text }) = answer else { return None };
        Some(check(code, text).map(|()| {
            held.leased(self.open, self.kind);
            Held { advisory: flags.advisory }
        }))
    }
}

pub(crate) struct GiveBack {
    pub(crate) open: u64,
    pub(crate) kind: LeaseKind,
    pub(crate) keep: Keep,
}

impl Question for GiveBack {
    type Outcome = ();

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let open = number(held, self.open)?;
        Ok(frame(StateRequest::Return(Return { open, kind: self.kind, keep: self.keep })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<(), Error>> {
        let outcome = done(answer)?;
        if outcome.is_ok() {
            held.returned(self.open, self.kind, self.keep);
        }
        Some(outcome)
    }

    fn broken(&mut self, held: &mut Holdings) -> Result<(), Error> {
        held.returned(self.open, self.kind, self.keep);
        Ok(())
    }
}

pub(crate) struct Extend {
    pub(crate) open: u64,
}

impl Question for Extend {
    type Outcome = Duration;

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        Ok(frame(StateRequest::Extend(wire::Extend { open: number(held, self.open)? })))
    }

    fn accept(&mut self, answer: StateAnswer, _: &mut Holdings) -> Option<Result<Duration, Error>> {
        let StateAnswer::Extended(Extended { code, deadline_ms, text }) = answer else { return None };
        Some(check(code, text).map(|()| Duration::from_millis(deadline_ms.into())))
    }
}
