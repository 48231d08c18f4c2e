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

    /// What both have.
    pub(super) fn intersection(self, other: Self) -> Option<Self> {
        self.overlaps(other).then(|| Self::between(self.start.max(other.start), self.last.min(other.last)))
    }

    /// What none of these has, which are in order and do not overlap.
    pub(super) fn gaps(self, taken: impl Iterator<Item = Self>) -> Vec<Self> {
        let (mut gaps, mut next) = (Vec::new(), Some(self.start));
        for range in taken.filter(|range| range.overlaps(self)) {
            gaps.extend(
                next.filter(|next| *next < range.start).map(|next| Self::between(next, range.start - 1)),
            );
            next = range.last.checked_add(1);
        }
        gaps.extend(next.filter(|next| *next <= self.last).map(|next| Self::between(next, self.last)));
        gaps
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
    fn what_lies_between() {
        let gaps = |range: (u64, u64), taken: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let taken = taken.iter().map(|(start, last)| Range::between(*start, *last));
            Range::between(range.0, range.1).gaps(taken).iter().map(|it| (it.start, it.last)).collect()
        };
        assert_eq!(gaps((2, 8), &[]), [(2, 8)]);
        assert_eq!(gaps((2, 8), &[(0, 2), (4, 5), (8, 9)]), [(3, 3), (6, 7)]);
        assert_eq!(gaps((2, 8), &[(0, 1), (3, 3), (4, 4), (20, 30)]), [(2, 2), (5, 8)]);
        assert_eq!(gaps((2, u64::MAX), &[(4, u64::MAX)]), [(2, 3)]);
        assert_eq!(gaps((0, u64::MAX), &[(0, u64::MAX)]), []);
    }

    #[test]
    fn what_two_have() {
        let both = |a: (u64, u64), b: (u64, u64)| {
            Range::between(a.0, a.1).intersection(Range::between(b.0, b.1)).map(|it| (it.start, it.last))
        };
        assert_eq!(both((2, 8), (4, u64::MAX)), Some((4, 8)));
        assert_eq!(both((2, 8), (0, 2)), Some((2, 2)));
        assert_eq!(both((2, 8), (9, 9)), None);
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
