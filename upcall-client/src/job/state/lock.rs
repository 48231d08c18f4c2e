//! Byte-range locks, and requests that wait.

use upcall_common::wire::{self, Code, LockConflict, LockTest, Locked, StateAnswer, StateRequest, Terms};

use super::{Limits, Question, Request, check, done, frame, number, refused};
use crate::error::Error;
use crate::state::{Blocker, Grant, Held, Holdings, LockRequest, Range, Wanted, last};

fn bytes(start: u64, length: u64) -> Result<u64, Error> {
    last(start, length).ok_or_else(|| refused(Code::BadRange, format!("from {start}, {length} bytes")))
}

pub(crate) struct Lock {
    pub(crate) open: u64,
    pub(crate) request: LockRequest,
}

impl Question for Lock {
    type Outcome = Grant<Held>;

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let LockRequest { owner, kind, start, length, wait } = self.request;
        bytes(start, length)?;
        let open = number(held, self.open)?;
        let terms = Terms { wait, ..held.terms(self.open) };
        Ok(frame(StateRequest::Lock(wire::Lock { open, owner, start, length, kind, terms })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<Grant<Held>, Error>> {
        let StateAnswer::Locked(Locked { code, flags, request, text }) = answer else { return None };
        let LockRequest { owner, kind, start, length, .. } = self.request;
        let range = Range { owner, kind, start, last: last(start, length)? };
        let cookie = held.cookie(self.open).unwrap_or_default();
        Some(match code {
            Code::Waiting => {
                let what = Wanted::Lock { cookie, open: self.open, range };
                Ok(Grant::Waiting(held.wait(request, what)))
            }
            code => check(code, text).map(|()| {
                held.lock(self.open, range);
                Grant::Granted(Held { advisory: flags.advisory })
            }),
        })
    }

    fn broken(&mut self, held: &mut Holdings) -> Result<Grant<Held>, Error> {
        let LockRequest { owner, kind, start, length, .. } = self.request;
        if let Some(last) = last(start, length) {
            held.weaken(self.open, Range { owner, kind, start, last });
        }
        Err(Error::Disconnected)
    }
}

pub(crate) struct Unlock {
    pub(crate) open: u64,
    pub(crate) owner: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Question for Unlock {
    type Outcome = ();

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let Self { owner, start, length, .. } = *self;
        bytes(start, length)?;
        let open = number(held, self.open)?;
        Ok(frame(StateRequest::Unlock(wire::Unlock { open, owner, start, length })))
    }

    fn accept(&mut self, answer: StateAnswer, held: &mut Holdings) -> Option<Result<(), Error>> {
        let outcome = done(answer)?;
        if outcome.is_ok() {
            self.forget(held);
        }
        Some(outcome)
    }

    fn broken(&mut self, held: &mut Holdings) -> Result<(), Error> {
        self.forget(held);
        Ok(())
    }
}

impl Unlock {
    fn forget(&self, held: &mut Holdings) {
        if let Some(last) = last(self.start, self.length) {
            held.unlock(self.open, self.owner, self.start, last);
        }
    }
}

pub(crate) struct TestLock {
    pub(crate) open: u64,
    pub(crate) request: LockRequest,
}

impl Question for TestLock {
    type Outcome = Option<Blocker>;

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let LockRequest { owner, kind, start, length, .. } = self.request;
        let open = number(held, self.open)?;
        Ok(frame(StateRequest::LockTest(LockTest { open, owner, start, length, kind })))
    }

    fn accept(&mut self, answer: StateAnswer, _: &mut Holdings) -> Option<Result<Option<Blocker>, Error>> {
        let StateAnswer::LockConflict(LockConflict { code, kind, start, length, who, text }) = answer else {
            return None;
        };
        Some(match code {
            Code::Conflict | Code::LocalConflict => Ok(Some(Blocker { kind, start, length, who })),
            code => check(code, text).map(|()| None),
        })
    }
}

pub(crate) struct Cancel {
    pub(crate) request: u64,
}

impl Question for Cancel {
    type Outcome = ();

    fn ask(&mut self, held: &mut Holdings, _: &Limits) -> Result<Request, Error> {
        let request = held.waiting(self.request);
        let request = request.ok_or_else(|| refused(Code::NoRequest, "its outcome has been told"))?;
        Ok(frame(StateRequest::Cancel(wire::Cancel { request })))
    }

    fn accept(&mut self, answer: StateAnswer, _: &mut Holdings) -> Option<Result<(), Error>> {
        done(answer)
    }

    /// What waits ends with the connection.
    fn broken(&mut self, _: &mut Holdings) -> Result<(), Error> {
        Ok(())
    }
}
