//! The locked ranges of one open, as POSIX splits and merges them. Pure logic.

use std::collections::{BTreeMap, BTreeSet};

use upcall_common::wire::LockKind;

/// A locked range, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) owner: u64,
    pub(crate) kind: LockKind,
    pub(crate) start: u64,
    pub(crate) last: u64,
}

impl Range {
    /// 0 where it reaches to the end of the file.
    pub(crate) fn length(&self) -> u64 {
        if self.last == u64::MAX { 0 } else { self.last - self.start + 1 }
    }
}

/// The last byte of a range; `None`: it ends beyond the largest number.
pub(crate) fn last(start: u64, length: u64) -> Option<u64> {
    match length.checked_sub(1) {
        None => Some(u64::MAX),
        Some(more) => start.checked_add(more),
    }
}

/// No two of one owner overlap, or touch and are of one kind.
#[derive(Debug, Default)]
pub(crate) struct Ranges(BTreeMap<(u64, u64), Rest>);

/// Of a range by owner and start.
#[derive(Clone, Copy, Debug)]
struct Rest {
    last: u64,
    kind: LockKind,
}

impl Ranges {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> {
        self.0.iter().map(range)
    }

    pub(crate) fn owners(&self) -> BTreeSet<u64> {
        self.0.keys().map(|(owner, _)| *owner).collect()
    }

    pub(crate) fn has(&self, owner: u64) -> bool {
        self.0.range((owner, 0)..=(owner, u64::MAX)).next().is_some()
    }

    pub(crate) fn lock(&mut self, mut range: Range) {
        self.unlock(range.owner, range.start, range.last);
        let (before, after) = (range.start.saturating_sub(1), range.last.saturating_add(1));
        for held in self.overlapping(range.owner, before, after) {
            if held.kind == range.kind {
                range.start = range.start.min(held.start);
                range.last = range.last.max(held.last);
                self.0.remove(&(held.owner, held.start));
            }
        }
        self.insert(range);
    }

    pub(crate) fn unlock(&mut self, owner: u64, start: u64, last: u64) {
        for held in self.overlapping(owner, start, last) {
            self.0.remove(&(owner, held.start));
            if held.start < start {
                self.insert(Range { last: start - 1, ..held });
            }
            if held.last > last {
                self.insert(Range { start: last + 1, ..held });
            }
        }
    }

    /// Write locks there become read locks.
    pub(crate) fn weaken(&mut self, owner: u64, start: u64, last: u64) {
        for held in self.overlapping(owner, start, last) {
            if held.kind == LockKind::Write {
                let (start, last) = (held.start.max(start), held.last.min(last));
                self.lock(Range { owner, kind: LockKind::Read, start, last });
            }
        }
    }

    /// At most one begins before `start`.
    fn overlapping(&self, owner: u64, start: u64, last: u64) -> Vec<Range> {
        let before = self.0.range((owner, 0)..(owner, start)).next_back();
        let before = before.filter(|(_, rest)| rest.last >= start);
        before.into_iter().chain(self.0.range((owner, start)..=(owner, last))).map(range).collect()
    }

    fn insert(&mut self, Range { owner, kind, start, last }: Range) {
        self.0.insert((owner, start), Rest { last, kind });
    }
}

fn range((&(owner, start), &Rest { last, kind }): (&(u64, u64), &Rest)) -> Range {
    Range { owner, kind, start, last }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 12;

    fn op() -> impl Strategy<Value = (u64, Option<LockKind>, u64, u64)> {
        let kind = prop_oneof![Just(None), Just(Some(LockKind::Read)), Just(Some(LockKind::Write))];
        (0..3_u64, kind, 0..BYTES, 0..BYTES)
            .prop_map(|(owner, kind, one, other)| (owner, kind, one.min(other), one.max(other)))
    }

    proptest! {
        /// Byte by byte they are what was last said, and no two ranges could be one.
        #[test]
        fn every_byte_is_what_was_last_said(ops in prop::collection::vec(op(), 0..30)) {
            let mut ranges = Ranges::default();
            let mut bytes = vec![[None; BYTES as usize]; 3];
            for (owner, kind, start, last) in ops {
                match kind {
                    Some(kind) => ranges.lock(Range { owner, kind, start, last }),
                    None => ranges.unlock(owner, start, last),
                }
                bytes[owner as usize][start as usize..=last as usize].fill(kind);
            }
            let mut seen = vec![[None; BYTES as usize]; 3];
            for range in ranges.iter() {
                for byte in range.start..=range.last {
                    let place = &mut seen[range.owner as usize][byte as usize];
                    prop_assert_eq!(place.replace(range.kind), None, "two ranges have one byte");
                }
            }
            prop_assert_eq!(&seen, &bytes);
            let runs: usize = bytes.iter().map(|bytes| {
                let starts = |place: &usize| bytes[*place].is_some() && (*place == 0 || bytes[place - 1] != bytes[*place]);
                (0..bytes.len()).filter(starts).count()
            }).sum();
            prop_assert_eq!(ranges.iter().count(), runs);
            for (owner, bytes) in (0..).zip(&bytes) {
                let any = bytes.iter().any(Option::is_some);
                prop_assert_eq!((ranges.has(owner), ranges.owners().contains(&owner)), (any, any));
            }
        }
    }

    #[test]
    fn the_end_is_the_largest_number() {
        assert_eq!(last(5, 0), Some(u64::MAX));
        assert_eq!(last(5, 1), Some(5));
        assert_eq!(last(u64::MAX, 1), Some(u64::MAX));
        assert_eq!(last(u64::MAX, 2), None);
        let mut ranges = Ranges::default();
        let whole = Range { owner: 1, kind: LockKind::Read, start: 0, last: u64::MAX };
        ranges.lock(whole);
        ranges.lock(Range { start: 7, ..whole });
        assert_eq!(ranges.iter().map(|range| (range.start, range.length())).collect::<Vec<_>>(), [(0, 0)]);
        ranges.unlock(1, u64::MAX, u64::MAX);
        assert_eq!(ranges.iter().map(|range| range.length()).collect::<Vec<_>>(), [u64::MAX]);
    }
}
