//! What the hub needs of the kernel. The source implements it; tests put a model in its place.

use std::{io, os::fd::BorrowedFd};

use serde::Serialize;
use upcall_common::abi::{Key, Probe};

/// Counts that the BPF programs keep, since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelCounts {
    /// Changes of watched inodes.
    pub marked: u64,
    /// Marks that found the slot dirty already.
    pub coalesced: u64,
    /// Dirty slots that the ring had no room for.
    pub ring_full: u64,
    /// Events written for `debug`, and those there was no room for.
    pub events: u64,
    pub events_lost: u64,
}

/// The kernel side of the slots.
pub trait Kernel: Send {
    /// Which inode each of these open files is, by the very key that the BPF programs compute.
    fn identify(&mut self, files: &[BorrowedFd<'_>]) -> io::Result<Vec<Option<Probe>>>;
    /// What is at the address where an inode was last seen.
    fn peek(&mut self, inode: u64) -> io::Result<Option<Probe>>;
    /// From now on, changes of the inode `below` an overlay's mark the slot of that one too.
    fn add_alias(&mut self, below: Key, slot: u32) -> io::Result<()>;
    fn remove_alias(&mut self, below: Key) -> io::Result<()>;
    /// Every pair that [`Kernel::add_alias`] has entered.
    fn aliases(&mut self) -> io::Result<Vec<(Key, u32)>>;
    /// Whether changes made through an overlay may mark the inode below alone.
    fn needs_aliases(&self) -> bool;
    /// How often hooks have been skipped so far whose changes the safety net sees; `None` without a net.
    fn skipped(&mut self) -> Option<u64>;
    /// Whether a mark comes before the change is visible, so that each needs a trailing edge.
    fn marks_early(&self) -> bool;
    /// The kernel's coarse clock, which stamps inodes: monotonic nanoseconds.
    fn coarse_now(&self) -> u64;
    /// The same moment as inodes carry it: seconds and nanoseconds since 1970.
    fn coarse_realtime(&self) -> (i64, u32);
    fn counts(&mut self) -> io::Result<KernelCounts>;
}
