//! Locked ranges by open. What one owner has locked of a file by any of its opens is one lock to the daemon. Pure logic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ranges::{Range, Ranges};

#[derive(Debug, Default)]
pub(crate) struct Locks {
    opens: BTreeMap<u64, Locked>,
    /// The opens by which an owner has locked something of a file.
    carriers: HashMap<(u64, u64), BTreeSet<u64>>,
}

#[derive(Debug, Default)]
struct Locked {
    /// As the daemon numbers it, in this connection or an earlier one.
    file: u64,
    ranges: Ranges,
}

impl Locks {
    /// Takes in an open, or, once it is reclaimed, that its file has another number.
    pub(crate) fn open(&mut self, open: u64, file: u64) {
        let locked = self.opens.entry(open).or_default();
        let former = std::mem::replace(&mut locked.file, file);
        for owner in locked.ranges.owners() {
            let (carriers, former) = (&mut self.carriers, (former, owner));
            remove(carriers, former, open);
            carriers.entry((file, owner)).or_default().insert(open);
        }
    }

    pub(crate) fn close(&mut self, open: u64) {
        let Some(Locked { file, ranges }) = self.opens.remove(&open) else { return };
        for owner in ranges.owners() {
            remove(&mut self.carriers, (file, owner), open);
        }
    }

    pub(crate) fn lock(&mut self, open: u64, range: Range) {
        self.unlock(open, range.owner, range.start, range.last);
        if let Some(locked) = self.opens.get_mut(&open) {
            locked.ranges.lock(range);
            self.carriers.entry((locked.file, range.owner)).or_default().insert(open);
        }
    }

    /// By whichever open of the file of `open`.
    pub(crate) fn unlock(&mut self, open: u64, owner: u64, start: u64, last: u64) {
        let Some(file) = self.opens.get(&open).map(|locked| locked.file) else { return };
        let carriers = self.carriers.get(&(file, owner)).cloned().unwrap_or_default();
        carriers.into_iter().for_each(|carrier| self.drop(carrier, owner, start, last));
    }

    /// Write locks there become read locks, by whichever open.
    pub(crate) fn weaken(&mut self, open: u64, owner: u64, start: u64, last: u64) {
        let Some(file) = self.opens.get(&open).map(|locked| locked.file) else { return };
        for carrier in self.carriers.get(&(file, owner)).into_iter().flatten() {
            if let Some(locked) = self.opens.get_mut(carrier) {
                locked.ranges.weaken(owner, start, last);
            }
        }
    }

    /// Of what this open carries alone.
    pub(crate) fn drop(&mut self, open: u64, owner: u64, start: u64, last: u64) {
        let Some(locked) = self.opens.get_mut(&open) else { return };
        locked.ranges.unlock(owner, start, last);
        if !locked.ranges.has(owner) {
            remove(&mut self.carriers, (locked.file, owner), open);
        }
    }

    pub(crate) fn of(&self, open: u64) -> Vec<Range> {
        self.opens.get(&open).map_or_else(Vec::new, |locked| locked.ranges.iter().collect())
    }
}

fn remove(carriers: &mut HashMap<(u64, u64), BTreeSet<u64>>, key: (u64, u64), open: u64) {
    if let Some(opens) = carriers.get_mut(&key) {
        opens.remove(&open);
        if opens.is_empty() {
            carriers.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use upcall_common::wire::LockKind;

    use super::*;

    const OWNER: u64 = 5;

    fn range(start: u64, last: u64) -> Range {
        Range { owner: OWNER, kind: LockKind::Write, start, last }
    }

    fn of(locks: &Locks, open: u64) -> Vec<(u64, u64)> {
        locks.of(open).iter().map(|range| (range.start, range.last)).collect()
    }

    #[test]
    fn an_owner_is_one_by_all_opens_of_a_file() {
        let mut locks = Locks::default();
        [(1, 70), (2, 70), (3, 71)].into_iter().for_each(|(open, file)| locks.open(open, file));
        [1, 3].into_iter().for_each(|open| locks.lock(open, range(0, 9)));
        locks.lock(2, range(5, 14));
        assert_eq!([1, 2, 3].map(|open| of(&locks, open)), [vec![(0, 4)], vec![(5, 14)], vec![(0, 9)]]);
        locks.unlock(2, OWNER, 3, 6);
        assert_eq!([1, 2, 3].map(|open| of(&locks, open)), [vec![(0, 2)], vec![(7, 14)], vec![(0, 9)]]);
        locks.unlock(2, OWNER + 1, 0, u64::MAX);
        locks.close(2);
        assert_eq!([1, 2].map(|open| of(&locks, open)), [vec![(0, 2)], vec![]]);
        locks.unlock(1, OWNER, 0, u64::MAX);
        locks.close(3);
        assert!(locks.carriers.is_empty());
    }

    #[test]
    fn what_is_weakened_is_locked_for_reading_by_the_same_open() {
        let mut locks = Locks::default();
        [1, 2].into_iter().for_each(|open| locks.open(open, 70));
        locks.lock(1, range(0, 9));
        locks.lock(2, range(20, 29));
        locks.weaken(2, OWNER, 5, 24);
        let kinds = |open| locks.of(open).iter().map(|it| (it.start, it.last, it.kind)).collect::<Vec<_>>();
        let (read, write) = (LockKind::Read, LockKind::Write);
        assert_eq!(kinds(1), [(0, 4, write), (5, 9, read)]);
        assert_eq!(kinds(2), [(20, 24, read), (25, 29, write)]);
    }

    #[test]
    fn files_are_numbered_anew() {
        let mut locks = Locks::default();
        [(1, 70), (2, 70)].into_iter().for_each(|(open, file)| locks.open(open, file));
        locks.lock(1, range(0, 9));
        // The number that was one file's is another one's now.
        [(1, 71), (3, 70), (2, 71)].into_iter().for_each(|(open, file)| locks.open(open, file));
        locks.unlock(3, OWNER, 0, 9);
        assert_eq!(of(&locks, 1), [(0, 9)]);
        locks.unlock(2, OWNER, 0, 4);
        assert_eq!(of(&locks, 1), [(5, 9)]);
    }
}
