//! The trailing edge: when a mark may come before its change is visible, the slot is looked at once more
//! after the kernel's clock has ticked, and again while the inode is still being written.
//!
//! Bounded by the number of slots: each is in the trail at most once.

use upcall_common::abi::Originator;

use super::deadlines::Deadlines;

/// What has been marked since the slot last came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub changes: u32,
    pub originator: Originator,
    /// Ticks until the next look if the inode is busy at this one.
    gap: u64,
    /// Hooks that were known to have been skipped when it was first marked; `None` without a safety net.
    pub skipped: Option<u64>,
    /// All has been told: it is looked at now and then for what nobody marks.
    resting: bool,
}

impl Unsettled {
    pub fn is_resting(&self) -> bool {
        self.resting
    }
}

/// Slots that have been marked and not yet come to rest.
#[derive(Debug)]
pub struct Trail {
    tick: u64,
    slots: Deadlines<u32, u64, Unsettled>,
    /// How many of them are resting.
    resting: usize,
    /// Hooks that have been skipped, as far as is known; `None` without a safety net.
    pub skipped: Option<u64>,
}

impl Trail {
    /// `tick`: how far the kernel's coarse clock steps, in nanoseconds.
    pub fn new(tick: u64) -> Self {
        Self { tick: tick.max(1), slots: Deadlines::default(), resting: 0, skipped: None }
    }

    /// A mark was taken when the coarse clock said `now`.
    pub fn note(&mut self, slot: u32, changes: u32, originator: Originator, now: u64) {
        let mut unsettled = Unsettled { changes, originator, gap: 1, skipped: self.skipped, resting: false };
        if let Some(earlier) = self.remove(slot) {
            if !earlier.resting {
                unsettled.skipped = earlier.skipped.min(self.skipped);
            }
            unsettled.changes |= earlier.changes;
            unsettled.originator = originator.and(earlier.originator);
        }
        self.schedule(slot, now + self.tick, unsettled);
    }

    /// The inode was busy when it was looked at: look again, less and less often, down to once in `most` ticks.
    pub fn again(&mut self, slot: u32, unsettled: Unsettled, now: u64, most: u64) {
        let gap = unsettled.gap.min(most);
        self.schedule(slot, now + gap * self.tick, Unsettled { gap: gap * 2, ..unsettled });
    }

    /// All has been told; look again at `due`, and tell `changes` then.
    pub fn rest(&mut self, slot: u32, changes: u32, due: u64) {
        let originator = Originator::Unknown;
        let unsettled = Unsettled { changes, originator, gap: 1, skipped: self.skipped, resting: true };
        self.schedule(slot, due, unsettled);
    }

    /// The slot must not be in the trail.
    fn schedule(&mut self, slot: u32, due: u64, unsettled: Unsettled) {
        self.resting += usize::from(unsettled.resting);
        self.slots.insert(slot, due, unsettled);
    }

    /// Takes one slot that is due when the coarse clock says `now`.
    pub fn pop_due(&mut self, now: u64) -> Option<(u32, Unsettled)> {
        let taken = self.slots.pop_over(now)?;
        self.resting -= usize::from(taken.1.resting);
        Some(taken)
    }

    /// Takes a slot, due or not.
    pub fn remove(&mut self, slot: u32) -> Option<Unsettled> {
        let unsettled = self.slots.remove(slot)?;
        self.resting -= usize::from(unsettled.resting);
        Some(unsettled)
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.slots.contains(slot)
    }

    /// When the coarse clock must be looked at next.
    pub fn next_due(&self) -> Option<u64> {
        self.slots.next_end()
    }

    /// Slots with something still to be told.
    pub fn unsettled(&self) -> usize {
        self.slots.len() - self.resting
    }

    /// Slots that are looked at now and then.
    pub fn resting(&self) -> usize {
        self.resting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use upcall_common::change::{DATA, MODE};

    const A: Originator = Originator::Process(1);
    const B: Originator = Originator::Process(2);

    #[test]
    fn a_slot_is_due_when_its_tick_is_over() {
        let mut trail = Trail::new(4);
        trail.note(7, DATA, A, 100);
        assert_eq!(trail.next_due(), Some(104));
        assert_eq!(trail.pop_due(103), None);
        let (slot, unsettled) = trail.pop_due(104).expect("due");
        assert_eq!((slot, unsettled.changes, unsettled.originator), (7, DATA, A));
        assert_eq!((trail.unsettled(), trail.next_due()), (0, None));
    }

    #[test]
    fn marks_gather_and_put_the_end_off() {
        let mut trail = Trail::new(4);
        trail.note(7, DATA, A, 100);
        trail.note(7, MODE, B, 102);
        assert_eq!(trail.pop_due(104), None);
        let (_, unsettled) = trail.pop_due(106).expect("due");
        assert_eq!((unsettled.changes, unsettled.originator), (DATA | MODE, Originator::Unknown));
        assert_eq!(trail.pop_due(u64::MAX), None);
    }

    #[test]
    fn a_resting_slot_is_not_unsettled_until_it_is_marked() {
        let mut trail = Trail::new(4);
        trail.rest(7, DATA, 1000);
        assert_eq!((trail.unsettled(), trail.resting(), trail.next_due()), (0, 1, Some(1000)));
        trail.note(7, MODE, A, 100);
        assert_eq!((trail.unsettled(), trail.resting(), trail.next_due()), (1, 0, Some(104)));
        let (_, unsettled) = trail.pop_due(104).expect("due");
        assert_eq!(unsettled.changes, DATA | MODE);
        trail.rest(7, DATA, 1000);
        trail.remove(7);
        assert_eq!((trail.unsettled(), trail.resting(), trail.next_due()), (0, 0, None));
    }

    #[test]
    fn a_busy_inode_is_looked_at_less_and_less_often_but_without_end() {
        let mut trail = Trail::new(1);
        trail.note(7, DATA, A, 0);
        let mut looks = Vec::new();
        for now in 1..=60 {
            if let Some((slot, unsettled)) = trail.pop_due(now) {
                looks.push(now);
                trail.again(slot, unsettled, now, 8);
            }
        }
        assert_eq!(looks, [1, 2, 4, 8, 16, 24, 32, 40, 48, 56]);
        trail.note(7, DATA, A, 60);
        assert_eq!(trail.next_due(), Some(61), "a new mark starts anew");
    }
}
