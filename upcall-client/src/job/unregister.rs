//! Ending interests.

use std::collections::VecDeque;

use upcall_common::wire::{Code, Message};

use super::{End, Job, Limits, Outcomes, Reply, Request, mismatch, paired, reply, settle};
use crate::engine::State;
use crate::error::{Error, ItemError};

pub(super) struct Unregister {
    /// Places and the daemon's numbers.
    queue: VecDeque<(usize, u64)>,
    sent: Vec<usize>,
    outcomes: Outcomes<()>,
    requester: Option<Reply<Outcomes<()>>>,
}

impl Unregister {
    /// The interests are forgotten at once; a connection that breaks ends them too.
    pub(super) fn new(
        interests: Vec<u64>,
        requester: Option<Reply<Outcomes<()>>>,
        state: &mut State,
    ) -> Self {
        let mut outcomes = Vec::with_capacity(interests.len());
        let mut queue = VecDeque::new();
        for (place, interest) in interests.into_iter().enumerate() {
            outcomes.push(match state.watches.remove(interest) {
                Some(number) => {
                    queue.extend(number.map(|number| (place, number)));
                    Ok(())
                }
                None => Err(ItemError { code: Code::NoInterest }),
            });
        }
        Self { queue, sent: Vec::new(), outcomes, requester }
    }
}

impl Job for Unregister {
    fn next_frame(&mut self, _: &mut State, limits: &Limits) -> Option<Request> {
        let batch: Vec<(usize, u64)> = self.queue.drain(..limits.batch.min(self.queue.len())).collect();
        let (places, numbers): (Vec<usize>, Vec<u64>) = batch.into_iter().unzip();
        self.sent = places;
        (!numbers.is_empty()).then_some((Message::Unregister(numbers), Vec::new()))
    }

    fn answer(&mut self, message: Message, _: &mut State) -> Result<(), Error> {
        let Message::Unregistered(codes) = message else { return Err(mismatch()) };
        for (place, code) in paired(&mut self.sent, codes)? {
            settle(&mut self.outcomes, place, ItemError::check(code));
        }
        Ok(())
    }

    fn give_up(&mut self, error: Error) {
        reply(&mut self.requester, Err(error));
    }

    fn end(mut self: Box<Self>, end: End, _: &mut State) -> Option<Box<dyn Job>> {
        let result = match end {
            End::Done | End::Disconnected => Ok(self.outcomes),
            End::Refused(error) => Err(error),
        };
        reply(&mut self.requester, result);
        None
    }
}
