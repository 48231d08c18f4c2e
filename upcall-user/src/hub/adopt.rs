//! Taking over: slots that an earlier daemon left marked, and those of clients that are gone and may come back.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use upcall_common::abi::{Attrs, Key, Originator, Probe};

use super::{
    Hub, Origin, State,
    settle::{self, UNDER_WAY},
    slots::{QUARANTINE, View},
};

/// Slots that are kept for new inodes: with less room than that, nothing waits for clients that may come back.
const RESERVE: u32 = 64;
/// The same, as a part of all.
const RESERVED_PART: u32 = 16;

/// An inode that waits for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclaimed {
    /// Left by another daemon, and not looked at by this one.
    adopted: bool,
}

impl Hub {
    /// Takes over what an earlier daemon watched. `gap`: there may have been changes that nobody marked. `since`: the
    /// coarse clock before the earlier daemon's programs gave way to this one's. Returns the number of inodes.
    pub fn adopt(&self, gap: bool, since: (i64, u32)) -> io::Result<usize> {
        let mut state = self.lock();
        let aliases = state.kernel.aliases()?;
        let now = Instant::now();
        let adopted = state.slots.entered();
        for &slot in &adopted {
            state.adopt(slot);
        }
        state.slots.adopt(&adopted, now);
        state.unlock(&adopted);
        for &slot in &adopted {
            state.resume(slot, gap, since);
            let until = now + state.grace;
            state.unclaimed.insert(slot, until, Unclaimed { adopted: true });
        }
        for (below, slot) in aliases {
            state.adopt_alias(below, slot);
        }
        drop(state);
        self.reschedule();
        Ok(adopted.len())
    }

    /// Nothing that has been said of any inode holds any more: whoever comes back is told that it has changed; and so is
    /// everybody at the end of what is under way now. Goes a step, beginning with slot `from`; returns where to go on.
    pub fn distrust(&self, from: u32) -> Option<u32> {
        let mut state = self.lock();
        let before = state.due();
        let (slots, next) = state.step(from);
        for slot in slots {
            state.raise(slot);
            if state.is_busy(slot) {
                state.note(slot, UNDER_WAY, Originator::Unknown);
            }
        }
        let sooner = state.due().is_sooner_than(&before);
        drop(state);
        if sooner {
            self.reschedule();
        }
        next
    }

    /// Whether nothing is watched, so that nothing would be lost without the maps.
    pub fn is_empty(&self) -> bool {
        self.lock().registry.slots() == 0
    }
}

impl State {
    fn adopt(&mut self, slot: u32) {
        let Some(view) = self.slots.get(slot) else { return };
        let device = view.key().dev;
        let attrs = Attrs { nlink: 1, ..Attrs::default() };
        let probe = Probe { attrs, ..Probe::default() };
        self.registry.watch(slot, &probe, None, view.version());
        self.devices.insert(device);
    }

    /// The earlier daemon may have ended while it stored attributes; a BPF program that does so now is done soon.
    fn unlock(&self, slots: &HashSet<u32>) {
        let views = || slots.iter().filter_map(|slot| self.slots.get(*slot)).filter(View::is_locked);
        if views().next().is_some() {
            std::thread::sleep(QUARANTINE);
            views().for_each(|view| view.unlock());
        }
    }

    /// What was under way when the earlier daemon ended is begun anew; and it may have been told too early. A change
    /// that was under way when its programs gave way has lost the hook at its end: one that is over by now shows in the
    /// inode's attributes, unless the clock has not ticked since the last change that they show.
    fn resume(&mut self, slot: u32, gap: bool, since: (i64, u32)) {
        let busy = self.is_busy(slot);
        let hooked = !self.kernel.marks_early();
        let Some(view) = self.slots.get(slot) else { return };
        let hidden = hooked && settle::may_stay_silent(&view.last_attrs(), since);
        let unsettled = busy || view.is_unsettled() || view.has_net();
        if gap || hidden || unsettled {
            self.raise(slot);
        }
        if unsettled {
            self.note(slot, UNDER_WAY, Originator::Unknown);
        }
    }

    /// Whether a change of the slot's inode may be under way.
    fn is_busy(&mut self, slot: u32) -> bool {
        self.probe(slot).is_ok_and(|probe| probe.busy != 0)
    }

    fn adopt_alias(&mut self, below: Key, slot: u32) {
        match self.registry.watched(slot) {
            Some(_) if !self.below.contains_key(&slot) => {
                self.below.insert(slot, below);
            }
            _ => self.remove_alias(below),
        }
    }

    /// Somebody is interested in a slot again, if it is one of those that wait.
    pub(super) fn claim(&mut self, slot: u32, probe: &Probe, origin: Option<Origin>) {
        let Some(Unclaimed { adopted }) = self.unclaimed.remove(slot) else { return };
        if let Some(watched) = self.registry.watched_mut(slot) {
            watched.origin = origin;
            watched.overlay = probe.overlay != 0;
        }
        if !adopted {
            return;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::loses_registration() {
            self.slots.leave(slot);
        }
        // While there was no daemon, another filesystem, or an older state of it, may have taken the device's number.
        let proven = self
            .slots
            .get(slot)
            .is_some_and(|view| !view.is_dirty() && view.attrs(view.version()) == Some(probe.attrs));
        if !proven {
            self.raise(slot);
        }
    }

    /// The version that clients know is not the last one any more, and nobody is told now.
    fn raise(&mut self, slot: u32) {
        if let Some(view) = self.slots.get(slot) {
            let version = view.raise();
            // It is no mark.
            self.registry.marks_taken(slot, version);
        }
    }

    /// The last interest in a slot went with its client.
    pub(super) fn leave(&mut self, slot: u32) {
        let wait = self.grace > Duration::ZERO && self.has_reserve() && self.registry.is_attached(slot);
        match wait {
            true => self.unclaimed.insert(slot, Instant::now() + self.grace, Unclaimed { adopted: false }),
            false => self.release(slot),
        }
    }

    /// Makes room for a new inode in good time: a slot that is given up rests before it is used again.
    pub(super) fn make_room(&mut self) {
        for _ in 0..2 {
            if self.has_reserve() {
                return;
            }
            let Some((slot, _)) = self.unclaimed.pop() else { return };
            self.release(slot);
        }
    }

    fn has_reserve(&self) -> bool {
        let capacity = self.slots.capacity();
        self.slots.left() > usize::try_from(RESERVE.max(capacity / RESERVED_PART)).unwrap_or(usize::MAX)
    }
}
