//! Beginning, and asking what is held.

use upcall_common::wire::{self, Identity, StateAnswer, StateBegin, StateQuery, StateRequest, StateShown};

use super::{Limits, Question, Request, check, frame, refused};
use crate::error::Error;
use crate::named::Named;
use crate::state::{Begun, Holdings};

pub(crate) struct Begin {
    pub(crate) identity: Identity,
}

impl Question for Begin {
    type Outcome = Begun;

    fn known(&self, held: &Holdings) -> Option<Begun> {
        held.begun().filter(|_| held.identity() == Some(self.identity))
    }

    fn ask(&mut self, held: &mut Holdings, limits: &Limits) -> Result<Request, Error> {
        if !limits.state {
            return Err(Error::NoState);
        }
        if held.identity().is_some() {
            return Err(Error::Begun);
        }
        Ok(frame(StateRequest::StateBegin(StateBegin { identity: self.identity })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<Begun, Error>> {
        let StateAnswer::StateBegun(answer) = answer else { return None };
        let begun = Begun::of(&answer);
        Some(check(answer.code, answer.text).map(|()| {
            held.begin(self.identity, begun);
            begun
        }))
    }
}

pub(crate) struct Query {
    target: Option<Named>,
    shown: Vec<String>,
    more: bool,
}

impl Query {
    pub(crate) fn new(target: Option<Named>) -> Self {
        Self { target, shown: Vec::new(), more: false }
    }
}

impl Question for Query {
    type Outcome = Vec<String>;

    fn ask(&mut self, _: &mut Holdings, limits: &Limits) -> Result<Request, Error> {
        if !limits.state {
            return Err(Error::NoState);
        }
        if let Some(code) = self.target.as_ref().and_then(|target| target.unsendable(limits.descriptors)) {
            return Err(refused(code, "no frame can name this file"));
        }
        let target: Option<wire::Target> = self.target.as_ref().map(|target| target.target(0));
        Ok(frame(StateRequest::StateQuery(StateQuery { target })))
    }

    fn accept(&mut self, answer: StateAnswer, _: &mut Holdings) -> Option<Result<Vec<String>, Error>> {
        let StateAnswer::StateShown(StateShown { flags, json }) = answer else { return None };
        self.shown.push(json.0);
        self.more = flags.more;
        Some(Ok(if self.more { Vec::new() } else { std::mem::take(&mut self.shown) }))
    }

    fn expects_more(&self) -> bool {
        self.more
    }
}
