//! The pending word of a slot: what changed and who did it, so laid out that one atomic OR adds a change.
//!
//! Bits 0..20 are change bits. Bits 20..42 are the originator's tgid, bits 42..64 the complement of it. One
//! originator leaves the two halves complementary; OR-ing in another sets some bit in both halves, which
//! says MULTIPLE. A tgid has at most 22 bits (the kernel's `PID_MAX_LIMIT`).

const CHANGE_BITS: u32 = 20;
const TGID_BITS: u32 = 22;
const CHANGE_MASK: u64 = (1 << CHANGE_BITS) - 1;
const TGID_MASK: u64 = (1 << TGID_BITS) - 1;

/// Who made the pending changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Originator {
    /// One process alone made them all.
    Process(u32),
    /// Several did, or the source cannot tell.
    Unknown,
}

impl Originator {
    /// Who made both of two changes.
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Process(a), Self::Process(b)) if a == b => self,
            _ => Self::Unknown,
        }
    }
}

/// A value of the pending word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// The word to OR in for `changes` made by process `tgid`.
    #[inline(always)]
    pub const fn of_process(changes: u32, tgid: u32) -> Self {
        let tgid = tgid as u64 & TGID_MASK;
        let halves = tgid | (!tgid & TGID_MASK) << TGID_BITS;
        Self((changes as u64 & CHANGE_MASK) | halves << CHANGE_BITS)
    }

    /// The word to OR in for `changes` whose originator the source cannot tell.
    #[inline(always)]
    pub const fn of_unknown(changes: u32) -> Self {
        Self((changes as u64 & CHANGE_MASK) | !CHANGE_MASK)
    }

    /// The word to OR in for what the safety net saw: it says nothing of the originator.
    #[inline(always)]
    pub const fn of_net() -> Self {
        Self(crate::change::NET as u64)
    }

    /// Nothing is pending.
    pub const fn is_clean(self) -> bool {
        self.0 == 0
    }

    /// The pending change bits.
    pub const fn changes(self) -> u32 {
        (self.0 & CHANGE_MASK) as u32
    }

    /// Who made them.
    pub const fn originator(self) -> Originator {
        let tgid = self.0 >> CHANGE_BITS & TGID_MASK;
        let complement = self.0 >> (CHANGE_BITS + TGID_BITS);
        if tgid ^ complement == TGID_MASK { Originator::Process(tgid as u32) } else { Originator::Unknown }
    }
}

const _: () = {
    use crate::change::{ALL, EARLY, NET};
    assert!((ALL | EARLY | NET) as u64 & !CHANGE_MASK == 0);
    assert!(ALL & (EARLY | NET) == 0);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{DATA, MODE};

    #[test]
    fn one_originator_survives_any_number_of_its_own_marks() {
        for tgid in [1, 2, 77, 32768, 4_194_303] {
            let word = Word(Word::of_process(DATA, tgid).0 | Word::of_process(MODE, tgid).0);
            assert_eq!(word.changes(), DATA | MODE);
            assert_eq!(word.originator(), Originator::Process(tgid));
        }
    }

    #[test]
    fn two_originators_are_never_mistaken_for_one() {
        for a in 1..300_u32 {
            for b in (1..300).chain([4_194_303, 2_097_152]) {
                let word = Word(Word::of_process(DATA, a).0 | Word::of_process(DATA, b).0);
                assert_eq!(word.originator() == Originator::Unknown, a != b, "{a} and {b}");
            }
        }
    }

    #[test]
    fn the_safety_net_leaves_the_originator_alone() {
        let word = Word(Word::of_net().0 | Word::of_process(MODE, 5).0);
        assert_eq!(word.originator(), Originator::Process(5));
        assert_eq!(Word::of_net().originator(), Originator::Unknown);
    }

    #[test]
    fn an_unknown_originator_swallows_a_known_one() {
        let word = Word(Word::of_unknown(DATA).0 | Word::of_process(MODE, 5).0);
        assert_eq!((word.changes(), word.originator()), (DATA | MODE, Originator::Unknown));
        assert!(Word::default().is_clean());
        assert_eq!(Word::default().originator(), Originator::Unknown);
    }
}
