//! Inodes without a link that somebody still holds open. They may be written for as long as that lasts; when it
//! ends, no tracepoint fires and a hook may be missing. So they are looked at, less and less often, until they
//! are gone.

use std::os::fd::BorrowedFd;

use upcall_common::{abi::Originator, change::ENTRIES};

use super::{Gone, Hub, State, trail::Unsettled};

/// Longest time between two looks, in nanoseconds.
const GAP: u64 = 1_000_000_000;

impl Hub {
    /// An inode has been found by the handle. Whether it is the one, which then is in memory, and its slot learns
    /// where; `None`: nobody knows.
    pub fn found(&self, gone: &Gone, fd: BorrowedFd<'_>) -> Option<bool> {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let probe = state.identify(&[fd]).pop()?.ok()?;
        if (probe.key, probe.generation) != (gone.key, gone.generation) || !state.is_current(gone) {
            return Some(false);
        }
        let (slot, now) = (gone.slot, state.kernel.coarse_now());
        if let Some(view) = state.slots.get(slot) {
            view.set_inode(probe.inode);
        }
        state.orphan(slot, probe.attrs.nlink);
        let copied_up = state.follow_layer(slot, &probe);
        if copied_up != 0 {
            state.tell(slot, copied_up, &mut wake);
        }
        if !state.trail.contains(slot) {
            state.look_again(slot, &probe, now);
        }
        // A mark for names keeps its directory in memory: this one was away, so its mark is gone.
        if state.registry.unmark_names(slot) {
            state.tell(slot, ENTRIES, &mut wake);
        }
        state.wake(&wake);
        drop(state);
        self.reschedule();
        Some(true)
    }
}

impl State {
    /// Looks at the slot from now on if its inode has no link.
    pub(super) fn orphan(&mut self, slot: u32, links: u32) {
        if links == 0 && !self.orphans.contains(slot) {
            let now = self.kernel.coarse_now();
            self.orphans.note(slot, 0, Originator::Unknown, now);
        }
    }

    /// Looks at one of them: the inode has gone if this returns it.
    pub(super) fn look_at_orphan(&mut self, slot: u32, look: Unsettled, now: u64) -> Option<Gone> {
        match self.probe(slot) {
            Ok(probe) if probe.attrs.nlink == 0 => {
                let most = GAP / self.tick;
                self.orphans.again(slot, look, now, most.max(1));
                None
            }
            // It has a link again.
            Ok(_) => None,
            Err(gone) => gone.map(|gone| Gone { unlinked: true, ..gone }),
        }
    }
}
