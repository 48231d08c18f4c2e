//! A stretch of a file.

/// Bytes `start..=last`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    start: u64,
    last: u64,
}

impl Range {
    /// A length of 0 means to the end of the file and beyond. `None` if the end lies beyond 64 bits.
    pub const fn new(start: u64, length: u64) -> Option<Self> {
        if length == 0 {
            return Some(Self { start, last: u64::MAX });
        }
        match start.checked_add(length - 1) {
            Some(last) => Some(Self { start, last }),
            None => None,
        }
    }

    pub(super) const fn between(start: u64, last: u64) -> Self {
        debug_assert!(start <= last);
        Self { start, last }
    }

    pub const fn start(self) -> u64 {
        self.start
    }

    /// The last byte of it.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// As the wire has it: 0 where it ends at the highest offset.
    pub const fn length(self) -> u64 {
        if self.last == u64::MAX { 0 } else { self.last - self.start + 1 }
    }

    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// What of it lies outside of `other`: before and after.
    pub(super) fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let apart = (!self.overlaps(other)).then_some(self);
        let before =
            (apart.is_none() && self.start < other.start).then(|| Self::between(self.start, other.start - 1));
        let after =
            (apart.is_none() && other.last < self.last).then(|| Self::between(other.last + 1, self.last));
        apart.into_iter().chain(before).chain(after)
    }

    /// With one byte more at each side, where there is one.
    pub(super) const fn widened(self) -> Self {
        Self { start: self.start.saturating_sub(1), last: self.last.saturating_add(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_zero_reaches_the_highest_offset_and_no_end_lies_beyond_it() {
        assert_eq!(Range::new(5, 0), Some(Range { start: 5, last: u64::MAX }));
        assert_eq!(Range::new(u64::MAX, 1), Some(Range { start: u64::MAX, last: u64::MAX }));
        assert_eq!(Range::new(u64::MAX, 2), None);
        assert_eq!(Range::new(2, u64::MAX), None);
        assert_eq!(Range::new(1, u64::MAX).map(Range::length), Some(0));
        assert_eq!(Range::new(3, 4).map(|range| (range.last(), range.length())), Some((6, 4)));
    }

    #[test]
    fn what_lies_outside() {
        let outside = |a: (u64, u64), b: (u64, u64)| -> Vec<(u64, u64)> {
            Range::between(a.0, a.1).without(Range::between(b.0, b.1)).map(|r| (r.start, r.last)).collect()
        };
        assert_eq!(outside((2, 8), (4, 5)), [(2, 3), (6, 8)]);
        assert_eq!(outside((2, 8), (0, 5)), [(6, 8)]);
        assert_eq!(outside((2, 8), (5, u64::MAX)), [(2, 4)]);
        assert_eq!(outside((2, 8), (2, 8)), []);
        assert_eq!(outside((2, 8), (9, 9)), [(2, 8)]);
    }
}
