//! Slots and the dirty ring as the protocol between BPF programs and the daemon knows them.

use core::cell::UnsafeCell;

use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
use upcall_common::{
    abi::{SCAN, Slot},
    protocol::{self, Ring, Shared},
};

use crate::{
    atomic,
    maps::{DIRTY, control},
};

/// A word of a map value.
#[repr(transparent)]
pub struct Cell(UnsafeCell<u64>);

impl Cell {
    /// # Safety
    /// `word` points into a map value.
    #[inline(always)]
    unsafe fn at<'a>(word: *mut u64) -> &'a Self {
        // SAFETY: same layout; map values outlive the program's run.
        unsafe { &*word.cast() }
    }
}

// SAFETY of all: a `Cell` is in a map value.
impl Shared for Cell {
    #[inline(always)]
    fn load(&self) -> u64 {
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        unsafe { self.0.get().write_volatile(value) }
    }

    #[inline(always)]
    fn or(&self, bits: u64) -> u64 {
        unsafe { atomic::or(self.0.get(), bits) }
    }

    #[inline(always)]
    fn and(&self, bits: u64) -> u64 {
        unsafe { atomic::and(self.0.get(), bits) }
    }

    #[inline(always)]
    fn add(&self, n: u64) -> u64 {
        unsafe { atomic::add(self.0.get(), n) }
    }

    #[inline(always)]
    fn swap(&self, value: u64) -> u64 {
        unsafe { atomic::exchange(self.0.get(), value) }
    }

    #[inline(always)]
    fn replace(&self, old: u64, new: u64) {
        unsafe { atomic::compare_exchange(self.0.get(), old, new) }
    }
}

/// A slot in its map.
pub struct View(*mut Slot);

impl View {
    /// # Safety
    /// `slot` is a value of the map of slots.
    #[inline(always)]
    pub unsafe fn new(slot: *mut Slot) -> Self {
        Self(slot)
    }
}

// SAFETY of all: `View::new` wants a map value; a `Cell` is what others may write at any time.
impl protocol::Slot for View {
    type Word = Cell;

    #[inline(always)]
    fn pending(&self) -> &Cell {
        unsafe { Cell::at(&raw mut (*self.0).pending) }
    }

    #[inline(always)]
    fn version(&self) -> &Cell {
        unsafe { Cell::at(&raw mut (*self.0).version) }
    }

    #[inline(always)]
    fn lock(&self) -> &Cell {
        unsafe { Cell::at((&raw mut (*self.0).generation).cast()) }
    }

    #[inline(always)]
    fn attrs_version(&self) -> &Cell {
        unsafe { Cell::at(&raw mut (*self.0).attrs_version) }
    }

    #[inline(always)]
    fn net(&self) -> &Cell {
        unsafe { Cell::at(&raw mut (*self.0).net) }
    }
}

/// The dirty ring.
pub struct Dirty;

impl Ring for Dirty {
    type Word = Cell;

    #[inline(always)]
    fn submit(&self, index: u32) -> bool {
        DIRTY.output::<u32>(index, 0).is_ok()
    }

    #[inline(always)]
    fn submit_wake(&self) {
        // Full: the daemon has yet to empty it.
        let _ = DIRTY.output::<u32>(SCAN, u64::from(BPF_RB_FORCE_WAKEUP));
    }

    #[inline(always)]
    fn scan(&self) -> Option<&Cell> {
        // SAFETY: the map returned it.
        control().map(|control| unsafe { Cell::at(&raw mut (*control).scan) })
    }
}
