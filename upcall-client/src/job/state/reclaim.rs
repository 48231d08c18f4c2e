//! After a reconnection: reclaiming what is held.

use std::collections::VecDeque;

use upcall_common::wire::{
    Code, Lease, LeaseKind, Leased, Lock, Locked, Message, Opened, StateAnswer, StateBegin, StateRequest,
    Terms,
};

use super::{End, Job, Limits, Request, frame, mismatch};
use crate::Notice;
use crate::engine::State;
use crate::error::Error;
use crate::state::{Begun, Holdings, Range, StateNotice};

/// Frames under way: the grace does not wait for as many round trips as there is held. Their answers, which are small,
/// fit what a socket takes that nobody reads.
const WINDOW: usize = 64;

/// Ends with `Reconnected`, also where nothing is held.
pub(crate) struct Reclaim {
    /// All opens come first: to the daemon an owner's locks are those of all opens of a file.
    steps: VecDeque<Step>,
    /// Not answered yet, in order.
    asked: VecDeque<Step>,
    /// Once the daemon knows the client: after all others.
    last: Option<Step>,
}

#[derive(Clone, Copy)]
enum Step {
    Begin,
    Open(u64),
    Lease(u64, LeaseKind),
    Lock(u64, Range),
    /// That is all.
    Reclaimed,
}

impl Reclaim {
    pub(crate) fn new(held: &Holdings) -> Self {
        let steps = held.identity().map(|_| Step::Begin);
        Self { steps: steps.into_iter().collect(), asked: VecDeque::new(), last: None }
    }

    /// The frame of a step; `None`: there is nothing to ask any more.
    fn frame(step: Step, held: &Holdings, limits: &Limits) -> Result<Option<Request>, Code> {
        let terms = |open| Terms { reclaim: true, ..held.terms(open) };
        let request = match step {
            Step::Begin if !limits.state => return Err(Code::Disabled),
            Step::Begin => held.identity().map(|identity| StateRequest::StateBegin(StateBegin { identity })),
            Step::Open(open) => {
                let Some((request, number)) = held.request(open) else { return Ok(None) };
                if let Some(code) = request.target.unsendable(limits.descriptors) {
                    return Err(code);
                }
                let files = request.target.file().cloned().into_iter().collect();
                let message = Message::StateRequest(StateRequest::Open(request.reclaim(number)));
                return Ok(Some((message, files)));
            }
            // It may have been revoked since the open was reclaimed.
            Step::Lease(open, kind) if held.leases(open, kind) > 0 => held
                .number(open)
                .map(|number| StateRequest::Lease(Lease { open: number, kind, terms: terms(open) })),
            Step::Lease(..) => None,
            Step::Lock(open, range) => held.number(open).map(|number| {
                let Range { owner, kind, start, .. } = range;
                let length = range.length();
                StateRequest::Lock(Lock { open: number, owner, start, length, kind, terms: terms(open) })
            }),
            Step::Reclaimed => Some(StateRequest::StateReclaimed(())),
        };
        Ok(request.map(frame))
    }

    /// Goes on after a step that has succeeded.
    fn follow(&mut self, step: Step, held: &Holdings) {
        match step {
            Step::Begin => {
                self.steps.extend(held.opens().map(Step::Open));
                self.last = Some(Step::Reclaimed);
            }
            Step::Open(open) => {
                for kind in [LeaseKind::Write, LeaseKind::Read] {
                    self.steps.extend((0..held.leases(open, kind)).map(|_| Step::Lease(open, kind)));
                }
                self.steps.extend(held.ranges(open).into_iter().map(|range| Step::Lock(open, range)));
            }
            Step::Lease(..) | Step::Lock(..) | Step::Reclaimed => {}
        }
    }

    /// What a refused step means.
    fn lose(step: Step, code: Code, state: &mut State) {
        let State { held, backlog, .. } = state;
        let mut tell = |notice: Option<StateNotice>| backlog.extend(notice.map(Notice::State));
        match step {
            Step::Begin => {
                let opens: Vec<u64> = held.opens().collect();
                opens.into_iter().for_each(|open| tell(held.lose(open, code)));
                held.end();
            }
            Step::Open(open) => tell(held.lose(open, code)),
            Step::Lease(open, kind) => tell(held.lose_lease(open, kind, code)),
            Step::Lock(open, range) => tell(held.lose_lock(open, range, code)),
            // Then what is released only waits for the grace to end.
            Step::Reclaimed => {}
        }
    }
}

impl Job for Reclaim {
    fn next_frame(&mut self, state: &mut State, limits: &Limits) -> Option<Request> {
        loop {
            let step = match self.steps.pop_front() {
                Some(step) => step,
                None if self.asked.is_empty() => self.last.take()?,
                None => return None,
            };
            match Self::frame(step, &state.held, limits) {
                Ok(None) => {}
                Ok(Some(request)) => {
                    self.asked.push_back(step);
                    return Some(request);
                }
                Err(code) => Self::lose(step, code, state),
            }
        }
    }

    fn window(&self) -> usize {
        WINDOW
    }

    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error> {
        let (Some(step), Message::StateAnswer(answer)) = (self.asked.pop_front(), message) else {
            return Err(mismatch());
        };
        let code = match (step, answer) {
            (Step::Begin, StateAnswer::StateBegun(answer)) => {
                if let Some(identity) = state.held.identity().filter(|_| answer.code.is_ok()) {
                    state.held.begin(identity, Begun::of(&answer));
                }
                answer.code
            }
            (Step::Lease(..), StateAnswer::Leased(Leased { code, .. }))
            | (Step::Lock(..), StateAnswer::Locked(Locked { code, .. })) => code,
            (Step::Open(open), StateAnswer::Opened(Opened { code, open: number, file, .. })) => {
                if code.is_ok() {
                    state.held.reclaimed(open, number, file);
                }
                code
            }
            (Step::Reclaimed, StateAnswer::Done(done)) => done.code,
            _ => return Err(mismatch()),
        };
        if code.is_ok() {
            self.follow(step, &state.held);
        } else {
            Self::lose(step, code, state);
        }
        Ok(())
    }

    fn refused(&mut self, error: Error, state: &mut State) -> Result<(), Error> {
        let code = match error {
            Error::Refused { code, .. } => code,
            _ => Code::Internal,
        };
        if let Some(step) = self.asked.pop_front() {
            Self::lose(step, code, state);
        }
        Ok(())
    }

    fn give_up(&mut self, _: Error) {}

    fn end(self: Box<Self>, end: End, state: &mut State) -> Option<Box<dyn Job>> {
        if let End::Refused(_) = end {
            let Self { steps, asked, .. } = *self;
            asked.into_iter().chain(steps).for_each(|step| Self::lose(step, Code::Internal, state));
        }
        if !matches!(end, End::Disconnected) {
            state.restored();
        }
        None
    }
}
