//! Records in memory shared by the BPF programs and the daemon. All are `#[repr(C)]`, without padding, and
//! valid for every bit pattern, so either side may read what the other wrote.

mod event;
mod layout;
mod offsets;
mod slot;
mod word;

pub use event::{EVENT_PATH, Event, Hook, Op, PATH_PIECE};
pub use layout::LAYOUT;
pub use offsets::{ABSENT, Offsets, UNSET};
pub use slot::{Attrs, Key, NET_SEVERAL, Slot};
pub use word::{Originator, Word};

/// Names of the maps in the BPF object.
pub mod maps {
    /// Array of [`super::Slot`], mmapped by the daemon.
    pub const SLOTS: &str = "SLOTS";
    /// Array of [`super::Bucket`], mmapped by the daemon: from [`super::Key`] to a slot's index.
    pub const INDEX: &str = "INDEX";
    /// Hash from the [`super::Key`] of an inode below an overlay to the slot of the overlay's inode above it.
    pub const ALIASES: &str = "ALIASES";
    /// Ring of slot indices (`u32`): each dirty slot once.
    pub const DIRTY: &str = "DIRTY";
    /// Ring of [`super::Event`], lossy, for `upcall debug`.
    pub const EVENTS: &str = "EVENTS";
    /// One [`super::Control`], mmapped by the daemon.
    pub const CONTROL: &str = "CONTROL";
    /// Per-CPU counters, indexed by [`super::Counter`].
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of [`super::Probe`], mmapped by the daemon: where the identity programs are asked, and answer.
    pub const PROBES: &str = "PROBES";
    /// Array of [`super::Syscall`] by system call number: how `timestamp` names a change.
    pub const SYSCALLS: &str = "SYSCALLS";
    /// Set of functions with an exit program of this daemon, each as its id in the kernel's BTF.
    pub const HOOKED: &str = "HOOKED";
    /// Ring of [`super::Broken`].
    pub const BREAKS: &str = "BREAKS";
    /// One number (`u64`): how many breaks that ring had no room for.
    pub const BREAKS_LOST: &str = "BREAKS_LOST";
    /// Hash from the [`super::Key`] of an inode to the `DENY_*` bits.
    pub const DENIED: &str = "DENIED";
}

/// In the dirty ring: not a slot, but a hint that the `scan` flag was raised.
pub const SCAN: u32 = u32::MAX;

/// Entries of the table that names system calls.
pub const SYSCALLS: u32 = 512;

/// Of the table that leads from a key to a slot: see [`crate::index`].
pub type Bucket = [u32; crate::index::WORDS];

/// Switches and flags that both sides write.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Set to 1 by a BPF program that found the dirty ring full; swapped to 0 by the daemon before it scans.
    pub scan: u64,
    /// Non-zero while somebody looks at the event ring.
    pub events_on: u64,
    /// Non-zero: the timestamp tracepoints are the safety net under hooks, not the source.
    pub net: u64,
    /// Non-zero once there is an alias.
    pub aliases: u64,
    /// Names this life of the maps: versions compare only within it. 0 until all maps are filled and all programs
    /// pinned. The daemon's alone, as are the next two.
    pub epoch: u64,
    /// Pinned links.
    pub links: u64,
    /// Skipped runs of their programs of which clients have been told.
    pub skips: u64,
    /// See [`crate::index::Place::of`]: set with the number of buckets before the first program runs, and 0 until then.
    pub seed: u64,
    pub buckets: u64,
    /// How often the trampoline of a function in [`maps::HOOKED`] has been changed, by whomever.
    pub trampolines: u64,
}

/// Index into the per-CPU counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Changes of watched inodes.
    Marked,
    /// Marks that found the slot dirty already.
    Coalesced,
    /// Dirty slots that the ring had no room for.
    RingFull,
    /// Events that the event ring had no room for.
    EventsLost,
    /// Events written.
    Events,
}

/// Number of [`Counter`]s.
pub const COUNTERS: u32 = 5;

/// Somebody waits, or was told to try later, for a lease of the inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub inode: Key,
    /// The process; 0: a kernel thread.
    pub by: u32,
    pub pad: u32,
}

impl Broken {
    /// The record in words.
    pub const WORDS: usize = 3;

    /// From the record as little-endian machines lay it out.
    pub const fn from_words([ino, dev, by]: [u64; Self::WORDS]) -> Self {
        Self { inode: Key::from_words([ino, dev]), by: by as u32, pad: 0 }
    }
}

/// Inodes that the identity programs are asked about in one run.
pub const PROBES: u32 = 64;

/// What the identity programs say of an inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    pub key: Key,
    pub attrs: Attrs,
    /// Kernel address of the inode; 0 where there was none. In a question: the descriptor.
    pub inode: u64,
    pub generation: u32,
    /// A combination of the `BUSY_*` bits.
    pub busy: u32,
    /// How often the inode is open for writing (negative: writing is denied).
    pub writecount: i32,
    /// How many shared mappings of it there are that may be written to.
    pub mapped: u32,
    /// The inode of the upper layer below an overlay's inode; all 0 where there is none.
    pub upper: Key,
    /// 1: an inode of an overlay, which may get an upper inode by and by.
    pub overlay: u32,
    /// 1: the attributes are what a reader would see, unless the file is mapped.
    pub faithful: u32,
}

impl Probe {
    /// The record in words.
    pub const WORDS: usize = 14;
    /// Which of them is `inode`.
    pub const INODE: usize = 8;

    /// From the record as little-endian machines lay it out.
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [ino, dev, a, b, c, d, e, f, inode, generation_busy, write_mapped, upper, upper_dev, overlay] =
            words;
        Self {
            key: Key::from_words([ino, dev]),
            attrs: Attrs::from_words([a, b, c, d, e, f]),
            inode,
            generation: generation_busy as u32,
            busy: (generation_busy >> 32) as u32,
            writecount: write_mapped as u32 as i32,
            mapped: (write_mapped >> 32) as u32,
            upper: Key::from_words([upper, upper_dev]),
            overlay: overlay as u32,
            faithful: (overlay >> 32) as u32,
        }
    }
}

/// `i_rwsem` is held by a writer: a change is under way.
pub const BUSY_WRITER: u32 = 1;
/// Direct I/O is in flight.
pub const BUSY_DIO: u32 = 2;
/// `i_rwsem` is held shared: by readers, or by a direct write that has not begun yet.
pub const BUSY_SHARED: u32 = 4;

/// Nobody may open it for reading. The value of the kernel's `FMODE_READ`.
pub const DENY_READ: u32 = 1;
/// Nobody may open it for writing. The value of the kernel's `FMODE_WRITE`.
pub const DENY_WRITE: u32 = 2;

/// What a system call of some number changes, as `timestamp` sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syscall {
    /// Change bits for an inode that is not a directory; 0: unknown, so anything.
    pub file: u32,
    /// Change bits for a directory; 0: unknown, so anything.
    pub dir: u32,
    /// An [`Op`].
    pub op: u32,
}

const _: () = {
    assert!(size_of::<Control>() == 80);
    assert!(size_of::<Probe>() == 8 * Probe::WORDS);
    assert!(size_of::<Broken>() == 8 * Broken::WORDS);
    assert!(core::mem::offset_of!(Probe, inode) == 8 * Probe::INODE);
    assert!(size_of::<Syscall>() == 12);
    assert!(size_of::<Bucket>() == 64);
};
