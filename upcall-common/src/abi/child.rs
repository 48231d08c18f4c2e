//! Inodes in scopes that have changed.

use super::Slot;

/// In the dirty ring: the index of a [`Child`], not of a slot.
pub const CHILD: u32 = 1 << 31;

/// Bytes of path in a [`Place`].
pub const CHILD_PATH: usize = 832;
/// Scopes that a [`Place`] can be in.
pub const PLACE_ROOTS: usize = 4;
/// Directories above an inode among which scopes are looked for.
pub const DEEPEST: u32 = 64;
/// Names of an inode that the daemon hears of.
pub const PLACES: u32 = 4;

/// Where an inode is, by one of its names.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Slots of scopes that it is in.
    pub roots: [u32; PLACE_ROOTS],
    /// For each, how many names of `path` lead from there to the inode.
    pub names: [u32; PLACE_ROOTS],
    /// How many scopes there are.
    pub found: u32,
    /// 1: there are more scopes, or names, than there is room for.
    pub cut: u32,
    /// Bytes used in `path`.
    pub len: u32,
    pub pad: u32,
    /// Names from the inode upwards, each ended by a NUL.
    pub path: [u8; CHILD_PATH],
}

/// A changed inode in some scope, from its first mark until it is at rest and told.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// As that of a watched inode, without attributes.
    pub slot: Slot,
    /// One of the constants below.
    pub state: u64,
    /// See `state`.
    pub place: Place,
}

impl Child {
    /// Nobody's: what is pending was meant for an inode that had it before, and whoever marked it so finds out.
    pub const FREE: u64 = 0;
    /// `place` says nothing.
    pub const UNPLACED: u64 = 1;
    /// Somebody writes `place`.
    pub const PLACING: u64 = 2;
    /// Where it was when it was first marked.
    pub const PLACED: u64 = 3;
    /// Where it was at a later mark: at the first it was in no scope.
    pub const PLACED_LATER: u64 = 4;
    /// At the last mark it was in no scope, and was not about to move.
    pub const ELSEWHERE: u64 = 5;
}

const _: () = {
    assert!(size_of::<Place>() == 880);
    assert!(size_of::<Child>() == 1016);
    // Whoever knows a slot knows a child's.
    assert!(core::mem::offset_of!(Child, slot) == 0);
};
