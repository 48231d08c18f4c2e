//! When the hub has to do something by itself. Pure.

use std::time::Instant;

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

fn sooner<T: Ord>(now: Option<T>, before: Option<T>) -> bool {
    now.is_some_and(|now| before.is_none_or(|before| now < before))
}
