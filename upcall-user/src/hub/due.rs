//! When the hub has to do something by itself, and what it does then.

use std::time::{Duration, Instant};

use super::{Gone, Hub, STEP, State};

/// What the dispatcher must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Nanoseconds of the kernel's coarse clock, from now, until a slot's tick is over.
    pub settle_in: Option<Duration>,
    /// When the next interest ends by itself.
    pub expire_at: Option<Instant>,
}

/// The hub's next appointments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    /// By the kernel's coarse clock.
    pub(super) look: Option<u64>,
    pub(super) expire_at: Option<Instant>,
}

impl Due {
    /// Whether an appointment has come that is before all of its kind that there were.
    pub(super) fn is_sooner_than(&self, before: &Self) -> bool {
        sooner(self.look, before.look) || sooner(self.expire_at, before.expire_at)
    }
}

impl Hub {
    pub fn schedule(&self) -> Schedule {
        let state = self.lock();
        let Due { look, expire_at } = state.due();
        let settle_in = look.map(|due| Duration::from_nanos(due.saturating_sub(state.kernel.coarse_now())));
        let settle_in = if state.leaving.is_empty() { settle_in } else { Some(Duration::ZERO) };
        Schedule { settle_in, expire_at }
    }

    pub(super) fn reschedule(&self) {
        self.rescheduled.notify_one();
    }

    /// Resolves when [`Hub::schedule`] may say something new.
    pub async fn rescheduled(&self) {
        self.rescheduled.notified().await;
    }

    /// Settles slots whose tick is over, ends interests whose lifetime is, and takes those of clients that have
    /// left away: a step of each. Returns inodes that are no longer where they were: the caller finds out
    /// whether they still exist and says so with [`Hub::deleted`].
    pub fn tick(&self) -> Vec<Gone> {
        let (mut wake, mut gone) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        let now = state.kernel.coarse_now();
        if state.trail.next_due().is_some_and(|due| due <= now) {
            state.look_for_skips();
        }
        for _ in 0..STEP {
            let Some((slot, unsettled)) = state.trail.pop_due(now) else { break };
            gone.extend(state.settle(slot, unsettled, now, false, &mut wake));
        }
        for _ in 0..STEP {
            let Some((slot, look)) = state.orphans.pop_due(now) else { break };
            gone.extend(state.look_at_orphan(slot, look, now));
        }
        for _ in 0..STEP {
            let Some((interest, ())) = state.lifetimes.pop_over(Instant::now()) else { break };
            wake.extend(state.registry.expire(interest));
        }
        for _ in 0..STEP {
            let Some((slot, _)) = state.unclaimed.pop_over(Instant::now()) else { break };
            state.release(slot);
        }
        state.clear();
        state.wake(&wake);
        gone
    }
}

impl State {
    pub(super) fn due(&self) -> Due {
        Due {
            look: self.trail.next_due().into_iter().chain(self.orphans.next_due()).min(),
            expire_at: self.lifetimes.next_end().into_iter().chain(self.unclaimed.next_end()).min(),
        }
    }
}

fn sooner<T: Ord>(now: Option<T>, before: Option<T>) -> bool {
    now.is_some_and(|now| before.is_none_or(|before| now < before))
}
