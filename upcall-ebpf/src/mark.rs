//! The one way from a hook to a client: find the slot of the changed inode, mark it, queue it once.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_log_ebpf::debug;
use upcall_common::{
    abi::{Counter, Hook, Key, Slot, Word},
    change::OTHER,
    protocol::{self, Marked},
};

use crate::{
    event::{self, Told},
    index,
    kernel::{self, Ptr},
    maps::{ALIASES, SLOTS, control, count},
    shared::{Dirty, View},
};

/// A change that a hook saw.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Change {
    pub changes: u32,
    /// An `Op`.
    pub op: u16,
    pub hook: Hook,
    /// For the event: bytes, or setattr bits.
    pub amount: u64,
}

/// As an originator: the current task, found out in the one place that serves every hook.
pub const CURRENT: u32 = u32::MAX;
/// As an originator: nobody knows.
pub const UNKNOWN: u32 = 0;

/// `inode` has changed. `FINAL`: the change is complete, so attributes read now are the new ones.
#[inline(always)]
pub fn change<const FINAL: bool>(inode: Ptr, dentry: u64, what: Change) {
    if inode.is_null() {
        return;
    }
    let address = inode as u64;
    target::<FINAL>(kernel::key(inode), address, None, dentry, || CURRENT, what);
}

/// As [`change`] by the current task, for an inode noted earlier.
#[inline(always)]
pub fn noted(key: Key, inode: u64, generation: u32, dentry: u64, what: Change) {
    target::<true>(key, inode, Some(generation), dentry, || CURRENT, what);
}

/// As [`change`] by the current task, for an inode known by key and address.
#[inline(always)]
pub fn by_current(key: Key, inode: u64, dentry: u64, what: Change) {
    target::<true>(key, inode, None, dentry, || CURRENT, what);
}

/// As [`change`], for an inode known by key and address, changed by the process that `by` finds or [`UNKNOWN`].
#[inline(always)]
pub fn by(key: Key, inode: u64, dentry: u64, by: impl Fn() -> u32, what: Change) {
    target::<true>(key, inode, None, dentry, by, what);
}

/// As [`by`], without an event, and without a look at the inode.
#[inline(always)]
pub fn quietly(key: Key, changes: u32, by: u32) {
    if let Some(index) = index::find(&key)
        && let Some(slot) = SLOTS.get_ptr_mut(index)
    {
        // SAFETY: the map returned `slot`.
        unsafe { add(slot, index, word(changes, by)) };
    }
}

/// As [`change`], for the inode of an overlay whose inode below, of the same contents, is the one that has
/// changed: nothing else is known of it, and it is not looked at.
#[inline(always)]
pub fn alias(below: Key, what: Change) {
    if control().is_none_or(|control| {
        // SAFETY: the map returned it.
        unsafe { (&raw const (*control).aliases).read_volatile() == 0 }
    }) {
        return;
    }
    // SAFETY: the value is copied at once; the daemon only ever inserts and removes whole entries.
    if let Some(index) = unsafe { ALIASES.get(&below) }.copied()
        && let Some(slot) = SLOTS.get_ptr_mut(index)
    {
        // SAFETY: the map returned `slot`.
        let (key, inode) = unsafe {
            add(slot, index, word(what.changes, CURRENT));
            ((*slot).key, (&raw const (*slot).inode).read_volatile())
        };
        if event::wanted() {
            event::tell(&Told { key, inode, dentry: 0, what, by: CURRENT });
        }
    }
}

/// The safety net saw that `key` changes, in the current thread, while the change is still being made. A hook is about to
/// tell of it; if none does, the daemon will.
#[inline(always)]
pub fn net(key: Key) {
    let thread = bpf_get_current_pid_tgid();
    let Some(index) = index::find(&key) else { return };
    let Some(slot) = SLOTS.get_ptr_mut(index) else { return };
    // SAFETY: the map returned `slot`.
    let slot = unsafe { View::new(slot) };
    if protocol::net(&slot, &Dirty, index, thread) == Marked::RingFull {
        ring_full(index);
    }
}

/// Whether the safety net saw its change in a thread of which a hook tells now.
#[inline(always)]
fn ours(net: u64, by: u32) -> bool {
    match by {
        CURRENT => net as u32 == kernel::thread(),
        // Completions come in other threads than the one in which the net saw the write begin.
        by => (net >> 32) as u32 == by,
    }
}

#[inline(always)]
fn target<const FINAL: bool>(
    key: Key,
    inode: u64,
    generation: Option<u32>,
    dentry: u64,
    by: impl Fn() -> u32,
    what: Change,
) {
    if let Some(index) = index::find(&key) {
        let generation = match generation {
            Some(noted) => noted,
            None => kernel::generation(inode),
        };
        mark::<FINAL>(index, inode, generation, what.changes, by());
    }
    if event::wanted() {
        event::tell(&Told { key, inode, dentry, what, by: by() });
    }
}

/// Kept out of line: one copy serves every hook.
#[inline(never)]
fn mark<const FINAL: bool>(index: u32, inode: u64, generation: u32, changes: u32, by: u32) {
    let Some(slot) = SLOTS.get_ptr_mut(index) else { return };
    // SAFETY: the map returned `slot`; words that others write are only touched atomically or as hints.
    unsafe {
        // Another generation: a reused inode number. The daemon finds out which; here, say that anything may be.
        let reused = (*slot).generation != generation;
        let changes = if reused { changes | OTHER } else { changes };
        if reused {
            debug!(&(), "slot {}: generation {} is not the watched one", index, generation);
        }
        let view = View::new(slot);
        if FINAL {
            protocol::hooked(&view, |net| ours(net, by));
        }
        let marked = protocol::mark(&view, &Dirty, index, word(changes, by), |version| {
            (&raw mut (*slot).inode).write_volatile(inode);
            if FINAL {
                store_attrs(slot, inode, version);
            }
        });
        tally(index, marked);
    }
}

#[inline(always)]
fn word(changes: u32, by: u32) -> Word {
    match if by == CURRENT { kernel::originator() } else { by } {
        UNKNOWN => Word::of_unknown(changes),
        by => Word::of_process(changes, by),
    }
}

/// A mark without a look at the inode.
#[inline(always)]
unsafe fn add(slot: *mut Slot, index: u32, word: Word) {
    // SAFETY: `slot` is a map value.
    let view = unsafe { View::new(slot) };
    tally(index, protocol::mark(&view, &Dirty, index, word, |_| ()));
}

#[inline(always)]
fn tally(index: u32, marked: Marked) {
    count(Counter::Marked);
    match marked {
        Marked::Queued => {}
        Marked::Coalesced => count(Counter::Coalesced),
        Marked::RingFull => ring_full(index),
    }
}

#[inline(always)]
fn ring_full(index: u32) {
    count(Counter::RingFull);
    debug!(&(), "dirty ring full at slot {}: scan", index);
}

/// What the inode says now may never be told where it is not faithful, and stores to a mapping change it late.
#[inline(always)]
unsafe fn store_attrs(slot: *mut Slot, inode: u64, version: u64) {
    if !kernel::is_faithful(inode, kernel::magic(inode)) || kernel::mapped(inode) > 0 {
        return;
    }
    // SAFETY: `slot` is a map value.
    unsafe {
        protocol::store_attrs(&View::new(slot), version, || {
            (&raw mut (*slot).attrs).write_volatile(kernel::attrs(inode));
        });
    }
}
