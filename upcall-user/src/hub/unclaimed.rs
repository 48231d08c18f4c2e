//! Watched inodes that nobody is interested in at the moment: their clients are gone, or the daemon that had them.
//! They go on being marked for a while, so that a client that comes back learns what has changed and what has not.
//! Pure state.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    slots: HashMap<u32, Entry>,
    order: BTreeSet<(Instant, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    until: Instant,
    /// Left by another daemon, and not looked at by this one.
    pub(super) adopted: bool,
}

impl Unclaimed {
    pub(super) fn insert(&mut self, slot: u32, until: Instant, adopted: bool) {
        self.remove(slot);
        self.slots.insert(slot, Entry { until, adopted });
        self.order.insert((until, slot));
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.slots.remove(&slot)?;
        self.order.remove(&(entry.until, slot));
        Some(entry)
    }

    /// Takes the one whose time ends first.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let (_, slot) = self.order.pop_first()?;
        self.slots.remove(&slot);
        Some(slot)
    }

    /// Takes one whose time is over.
    pub(super) fn pop_over(&mut self, now: Instant) -> Option<u32> {
        self.next_end().filter(|end| *end <= now).and_then(|_| self.pop())
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.order.first().map(|(until, _)| *until)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slots_leave_when_claimed_or_when_their_time_is_over() {
        let (mut unclaimed, start) = (Unclaimed::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        unclaimed.insert(1, at(9), false);
        unclaimed.insert(2, at(5), true);
        unclaimed.insert(1, at(7), false);
        assert_eq!((unclaimed.len(), unclaimed.next_end()), (2, Some(at(5))));
        assert!(unclaimed.remove(2).is_some_and(|entry| entry.adopted));
        assert_eq!(unclaimed.remove(2), None);
        assert_eq!(unclaimed.pop_over(at(6)), None);
        assert_eq!(unclaimed.pop_over(at(7)), Some(1));
        assert_eq!((unclaimed.len(), unclaimed.pop(), unclaimed.next_end()), (0, None, None));
    }
}
