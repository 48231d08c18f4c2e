//! Setting lifetimes anew.

use std::collections::VecDeque;

use upcall_common::wire::{Code, Message, RenewItem};

use super::{End, Job, Limits, Outcomes, Reply, Request, mismatch, paired, reply, settle};
use crate::engine::State;
use crate::error::{Error, ItemError};

struct Renewal {
    place: usize,
    interest: u64,
    item: RenewItem,
}

pub(super) struct Renew {
    queue: VecDeque<Renewal>,
    sent: Vec<Renewal>,
    outcomes: Outcomes<()>,
    requester: Option<Reply<Outcomes<()>>>,
}

impl Renew {
    pub(super) fn new(interests: Vec<(u64, u32)>, requester: Reply<Outcomes<()>>, state: &State) -> Self {
        let outcomes = interests.iter().map(|_| Err(ItemError { code: Code::NoInterest })).collect();
        let known = interests.into_iter().enumerate().filter_map(|(place, (interest, lifetime_ms))| {
            let number = state.watches.number(interest)?;
            Some(Renewal { place, interest, item: RenewItem { interest: number, lifetime_ms } })
        });
        Self { queue: known.collect(), sent: Vec::new(), outcomes, requester: Some(requester) }
    }
}

impl Job for Renew {
    fn next_frame(&mut self, _: &mut State, limits: &Limits) -> Option<Request> {
        self.sent = self.queue.drain(..limits.batch.min(self.queue.len())).collect();
        let items: Vec<RenewItem> = self.sent.iter().map(|renewal| renewal.item).collect();
        (!items.is_empty()).then_some((Message::Renew(items), Vec::new()))
    }

    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error> {
        let Message::Renewed(codes) = message else { return Err(mismatch()) };
        for (renewal, code) in paired(&mut self.sent, codes)? {
            let outcome = ItemError::check(code);
            if outcome.is_ok() {
                state.watches.set_lifetime_ms(renewal.interest, renewal.item.lifetime_ms);
            }
            settle(&mut self.outcomes, renewal.place, outcome);
        }
        Ok(())
    }

    fn give_up(&mut self, error: Error) {
        reply(&mut self.requester, Err(error));
    }

    fn end(mut self: Box<Self>, end: End, _: &mut State) -> Option<Box<dyn Job>> {
        reply(&mut self.requester, end.result(self.outcomes));
        None
    }
}
