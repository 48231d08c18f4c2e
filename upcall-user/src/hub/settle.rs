//! The end of a change: what a slot's inode is like once its tick is over and nobody writes it.

use upcall_common::{
    abi::{Attrs, BUSY_SHARED, Key, Originator, Probe},
    change::{DATA, ENTRIES, FORGET, MODE, NLINK, OTHER, OWNER, SIZE, TIMES, VOLATILE},
};

use super::{ClientIndex, Origin, State, trail::Unsettled};

/// A slot whose inode is not where it was last seen: evicted from the cache, or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    pub(super) slot: u32,
    pub(super) key: Key,
    pub(super) generation: u32,
    /// How to find out; `None` where the filesystem has no handles.
    pub origin: Option<Origin>,
    /// It was losing its links when last heard of, so that it counts as deleted where nobody can find out.
    pub unlinked: bool,
}

/// Longest time between two looks at an inode that is being written, in ticks.
const WRITING_GAP: u64 = 8;
/// The same for one that is being read, or about to be written directly.
const READING_GAP: u64 = 256;
/// Nanoseconds that making a mapping may take.
const MAPPING: u64 = 1_000_000_000;
/// What may have happened to a file that is mapped writable.
const STORED: u32 = DATA | TIMES | VOLATILE;
/// What may be happening to an inode that is busy, without a mark so far.
pub(super) const UNDER_WAY: u32 = DATA | SIZE | TIMES | OTHER;

impl State {
    /// Looks at a slot after its tick and tells what was marked once more, now that it is visible, with what
    /// a comparison of attributes adds. While the inode is busy it stays in the trail.
    pub(super) fn settle(
        &mut self,
        slot: u32,
        mut unsettled: Unsettled,
        now: u64,
        barrier: bool,
        wake: &mut Vec<ClientIndex>,
    ) -> Option<Gone> {
        let view = self.slots.get(slot)?;
        let (before, old) = (view.version(), view.last_attrs());
        let clock = self.kernel.coarse_realtime();
        let probe = match self.probe(slot) {
            Ok(probe) => probe,
            Err(gone) => {
                // Without an inode in memory nobody is writing it.
                let unhooked = self.caught(slot) | self.skipped_since(unsettled.skipped);
                let originator = if unhooked == 0 { unsettled.originator } else { Originator::Unknown };
                if unsettled.changes | unhooked != 0 {
                    self.tell_as(slot, unsettled.changes | unhooked, originator, wake);
                }
                self.settled(slot);
                let unlinked = unsettled.changes & NLINK != 0;
                return gone.map(|gone| Gone { unlinked: gone.unlinked || unlinked, ..gone });
            }
        };
        let early = self.kernel.marks_early();
        let silent = early || self.trail.skipped.is_some();
        let at_rest = probe.busy == 0 && !(silent && may_stay_silent(&probe.attrs, clock));
        unsettled.changes |= self.follow_layer(slot, &probe);
        let mut changes = unsettled.changes;
        let mut originator = alone(unsettled.originator, &probe);
        let unhooked = match (at_rest, barrier) {
            (true, _) => self.caught(slot) | self.skipped_since(unsettled.skipped),
            // What is complete must be told now; what is not is told again.
            (false, true) => self.maybe_caught(slot) | self.skipped_since(unsettled.skipped),
            (false, false) => 0,
        };
        if unhooked != 0 {
            changes |= unhooked;
            originator = Originator::Unknown;
        }
        if early && changes != 0 {
            changes |= difference(&old, &probe.attrs);
        }
        if probe.mapped == 0 {
            changes &= !VOLATILE;
        }
        if let Some(watched) = self.registry.watched_mut(slot) {
            watched.linked = probe.attrs.nlink > 0;
        }
        self.orphan(slot, probe.attrs.nlink);
        let mut version = before;
        if changes != 0 {
            version = self.tell_as(slot, changes, originator, wake);
        }
        if !at_rest {
            // Held shared, it may be a reader as well, whom each upcall might bring back.
            let most = if probe.busy == BUSY_SHARED { READING_GAP } else { WRITING_GAP };
            self.trail.again(slot, unsettled, now, most);
        } else {
            self.look_again(slot, &probe, now);
            let mapping = unsettled.changes & VOLATILE != 0 && probe.mapped == 0 && !unsettled.is_resting();
            if mapping && !self.trail.contains(slot) {
                // It may be about to be mapped: the hook comes before.
                self.trail.rest(slot, 0, now.saturating_add(MAPPING));
            }
            if early
                && version == before + 1
                && let Some(view) = self.slots.get(slot)
            {
                view.set_attrs(sure_at(version, &probe), &probe.attrs);
            }
        }
        self.settled(slot);
        None
    }

    /// Nothing is still to be told, unless the slot is in the trail again.
    fn settled(&self, slot: u32) {
        if !self.trail.contains(slot)
            && let Some(view) = self.slots.get(slot)
        {
            view.set_unsettled(false);
        }
    }

    /// Sees to it that a slot that is not in the trail is looked at now and then, if its inode may change without any
    /// mark.
    pub(super) fn look_again(&mut self, slot: u32, probe: &Probe, now: u64) {
        let next = match self.volatile {
            Some(pause) if probe.mapped > 0 => Some((STORED, pause)),
            _ => self.layer_look(probe).map(|pause| (0, pause)),
        };
        let Some((changes, pause)) = next else { return };
        let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        if let Some(view) = self.slots.get(slot) {
            view.set_unsettled(true);
        }
        self.trail.rest(slot, changes, now.saturating_add(pause));
    }

    /// What skipped hooks may have been about: within a tick the safety net sees but one change of an inode.
    fn skipped_since(&self, known: Option<u64>) -> u32 {
        if self.trail.skipped > known { OTHER } else { 0 }
    }

    /// Changes that the safety net saw and of which no hook has told.
    fn caught(&mut self, slot: u32) -> u32 {
        match self.slots.get(slot).map_or(0, |view| view.take_net()) {
            0 => 0,
            _ => {
                self.totals.net_only += 1;
                OTHER
            }
        }
    }

    /// The same, while a hook may still tell.
    fn maybe_caught(&self, slot: u32) -> u32 {
        let caught = self.slots.get(slot).is_some_and(|view| view.has_net());
        if caught { OTHER } else { 0 }
    }

    /// Tells an unsettled slot at once, for a client that asks for a barrier; it stays in the trail.
    pub(super) fn retell(&mut self, slot: u32, wake: &mut Vec<ClientIndex>) {
        if let Some(unsettled) = self.trail.remove(slot) {
            let now = self.kernel.coarse_now();
            self.settle(slot, unsettled, now, true, wake);
            self.note(slot, unsettled.changes, unsettled.originator);
        }
    }

    /// The slot's inode is deleted, unless the slot has changed hands since, or a client that came back has just brought
    /// the inode to memory again.
    pub(super) fn forget(&mut self, gone: &Gone, wake: &mut Vec<ClientIndex>) {
        if self.is_current(gone) && self.probe(gone.slot).is_err() {
            self.tell(gone.slot, FORGET, wake);
        }
    }

    pub(super) fn is_current(&self, gone: &Gone) -> bool {
        self.registry.watched(gone.slot).is_some() && self.slots.is_of(gone.slot, gone.key, gone.generation)
    }

    /// The inode of a slot, if it is still where it was last seen.
    pub(super) fn probe(&mut self, slot: u32) -> Result<Probe, Option<Gone>> {
        let (view, watched) = (self.slots.get(slot).ok_or(None)?, self.registry.watched(slot).ok_or(None)?);
        let (key, generation) = (view.key(), view.generation());
        let probe = self.kernel.peek(view.inode()).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look at an inode");
            None
        });
        let same = |probe: &Probe| probe.key == key && probe.generation == generation;
        // Nobody would see what happens to a file of an overlay that is copied up while out of memory.
        let unfollowed = watched.overlay && !self.below.contains_key(&slot) && self.kernel.needs_aliases();
        let (origin, unlinked) = (&watched.origin, !watched.linked || unfollowed);
        probe
            .filter(same)
            .ok_or_else(|| Some(Gone { slot, key, generation, origin: origin.clone(), unlinked }))
    }
}

/// The version to store attributes with, so that they are told with it: none (0), where the inode itself may not say
/// what a reader would see: stores to a mapping change its times late.
pub(super) fn sure_at(version: u64, probe: &Probe) -> u64 {
    if probe.faithful != 0 && probe.mapped == 0 { version } else { 0 }
}

/// Whether a further change may get the very stamp that the inode has, so that nothing is marked. Within the tick
/// of its last change it does; and when somebody had looked at the attributes before that change, the kernel
/// stamped it ahead of the coarse clock, which may take more than a tick to get there. `clock` must have been read
/// before the inode was looked at.
pub(super) fn may_stay_silent(attrs: &Attrs, clock: (i64, u32)) -> bool {
    // A stamp further ahead is from before the clock was set back: no new one equals it.
    (attrs.ctime_sec, attrs.ctime_nsec) >= clock && attrs.ctime_sec <= clock.0.saturating_add(1)
}

/// A process that marked the inode did so alone only if nobody else has it open for writing: within a tick,
/// another one's writes are not marked.
fn alone(originator: Originator, probe: &Probe) -> Originator {
    if probe.writecount > 1 { Originator::Unknown } else { originator }
}

/// Change bits for what differs between two states of an inode.
fn difference(old: &Attrs, new: &Attrs) -> u32 {
    let bit = |differs: bool, bits: u32| if differs { bits } else { 0 };
    let contents = if new.mode & libc::S_IFMT == libc::S_IFDIR { ENTRIES } else { DATA | SIZE };
    bit(old.size != new.size, contents)
        | bit((old.mtime_sec, old.mtime_nsec) != (new.mtime_sec, new.mtime_nsec), contents | TIMES)
        | bit(old.mode != new.mode, MODE)
        | bit((old.uid, old.gid) != (new.uid, new.gid), OWNER)
        | bit(old.nlink != new.nlink, NLINK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_from_now_on_may_repeat_but_not_those_of_a_clock_set_back() {
        let stamped = |ctime_sec, ctime_nsec| Attrs { ctime_sec, ctime_nsec, ..Attrs::default() };
        let silent = |sec, nsec| may_stay_silent(&stamped(sec, nsec), (100, 500));
        assert_eq!(
            [silent(100, 499), silent(100, 500), silent(101, 0), silent(102, 0)],
            [false, true, true, false]
        );
    }

    #[test]
    fn a_difference_names_what_differs() {
        let old = Attrs { size: 1, mode: 0o644, nlink: 1, mtime_sec: 5, ctime_sec: 5, ..Attrs::default() };
        assert_eq!(difference(&old, &Attrs { ctime_sec: 9, ..old }), 0);
        assert_eq!(difference(&old, &Attrs { mode: 0o600, ..old }), MODE);
        assert_eq!(difference(&old, &Attrs { gid: 7, ..old }), OWNER);
        assert_eq!(difference(&old, &Attrs { nlink: 2, ..old }), NLINK);
        assert_eq!(difference(&old, &Attrs { mtime_nsec: 1, ..old }), DATA | SIZE | TIMES);
    }
}
