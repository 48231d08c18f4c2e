//! After a reconnection: registering every live watch again.

use std::collections::VecDeque;

use upcall_common::wire::Message;

use super::batch::Batch;
use super::state::Reclaim;
use super::{End, Job, Limits, Request, mismatch, paired};
use crate::Notice;
use crate::engine::State;
use crate::error::Error;

pub(crate) struct Restore {
    queue: VecDeque<u64>,
    sent: Vec<u64>,
}

impl Restore {
    pub(crate) fn new(state: &State) -> Self {
        Self { queue: state.watches.interests().collect(), sent: Vec::new() }
    }
}

impl Job for Restore {
    fn next_frame(&mut self, state: &mut State, limits: &Limits) -> Option<Request> {
        let State { watches, backlog, .. } = state;
        let mut batch = Batch::fill(&mut self.queue, limits, |interest| {
            watches.known(*interest).map(|(watch, version)| (watch.clone(), version))
        });
        for (interest, code) in batch.refused.drain(..) {
            backlog.extend(watches.lost(interest, code));
        }
        self.sent = std::mem::take(&mut batch.sent);
        batch.into_request()
    }

    fn answer(&mut self, message: Message, state: &mut State) -> Result<(), Error> {
        let Message::Registered(answers) = message else { return Err(mismatch()) };
        for (interest, answer) in paired(&mut self.sent, answers)? {
            let notice = state.watches.restore(interest, &answer);
            // The `Resync` to come says so of everything.
            let implied = state.in_doubt() && matches!(notice, Some(Notice::Changed { .. }));
            state.backlog.extend(notice.filter(|_| !implied));
        }
        Ok(())
    }

    fn give_up(&mut self, _: Error) {}

    fn end(self: Box<Self>, end: End, state: &mut State) -> Option<Box<dyn Job>> {
        if !matches!(end, End::Done) {
            return None;
        }
        Some(Box::new(Reclaim::new(&state.held)))
    }

    fn is_restore(&self) -> bool {
        true
    }
}
