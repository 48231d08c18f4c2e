//! Making interests.

use std::collections::VecDeque;

use upcall_common::wire::{Code, Message};

use super::batch::Batch;
use super::unregister::Unregister;
use super::{End, Job, Limits, Outcomes, Reply, Request, mismatch, paired, reply, settle};
use crate::engine::State;
use crate::error::{Error, ItemError};
use crate::{Registered, Watch};

pub(super) struct Register {
    queue: VecDeque<(usize, Watch)>,
    sent: Vec<(usize, Watch)>,
    outcomes: Outcomes<Registered>,
    requester: Option<Reply<Outcomes<Registered>>>,
}

impl Register {
    pub(super) fn new(watches: Vec<Watch>, requester: Reply<Outcomes<Registered>>) -> Self {
        Self {
            outcomes: watches.iter().map(|_| Err(ItemError { code: Code::Internal })).collect(),
            queue: watches.into_iter().enumerate().collect(),
            sent: Vec::new(),
            requester: Some(requester),
        }
    }
}

impl Job for Register {
    fn next_frame(&mut self, _: &mut State, limits: &Limits) -> Option<Request> {
        let Self { queue, sent, outcomes, .. } = self;
        let mut batch = Batch::fill(queue, limits, |(_, watch)| Some((watch.clone(), 0)));
        for ((place, _), code) in batch.refused.drain(..) {
            settle(outcomes, place, Err(ItemError { code }));
        }
        *sent = std::mem::take(&mut batch.sent);
        batch.into_request()
    }

    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error> {
        let Message::Registered(answers) = message else { return Err(mismatch()) };
        for ((place, watch), answer) in paired(&mut self.sent, answers)? {
            let outcome = ItemError::check(answer.code).map(|()| Registered {
                interest: state.watches.insert(watch, &answer),
                version: answer.version,
                attrs: answer.attrs,
            });
            settle(&mut self.outcomes, place, outcome);
        }
        Ok(())
    }

    fn give_up(&mut self, error: Error) {
        reply(&mut self.requester, Err(error));
    }

    fn end(mut self: Box<Self>, end: End, state: &mut State) -> Option<Box<dyn Job>> {
        let made: Vec<u64> = self.outcomes.iter().flatten().map(|made| made.interest).collect();
        let result = end.result(self.outcomes);
        let failed = result.is_err();
        if reply(&mut self.requester, result) && !failed {
            return None;
        }
        // Nobody knows these interests: they must not live on.
        Some(Box::new(Unregister::new(made, None, state)))
    }
}
