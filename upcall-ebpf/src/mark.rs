//! The one way from a hook to a client: find the slot of the changed inode, mark it, queue it once.

use aya_ebpf::{bindings::BPF_RB_FORCE_WAKEUP, helpers::bpf_get_current_pid_tgid};
use aya_log_ebpf::debug;
use upcall_common::{
    abi::{Counter, Hook, Key, NET_SEVERAL, SCAN, Slot, Word},
    change::OTHER,
};

use crate::{
    atomic, event,
    kernel::{self, Ptr},
    maps::{ALIASES, DIRTY, SLOTS, WATCHED, control, count},
};

/// A change that a hook saw.
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
    // SAFETY: as in `target`.
    if let Some(index) = unsafe { WATCHED.get(&key) }.copied()
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
            event::tell(key, inode, 0, CURRENT, what);
        }
    }
}

/// The safety net saw that `key` changes, in the current thread, while the change is still being made. A hook is about to
/// tell of it; if none does, the daemon will.
#[inline(always)]
pub fn net(key: Key) {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: as above.
    let Some(index) = unsafe { WATCHED.get(&key) }.copied() else { return };
    let Some(slot) = SLOTS.get_ptr_mut(index) else { return };
    // SAFETY: the map returned `slot`.
    unsafe {
        let before = atomic::exchange(&raw mut (*slot).net, thread);
        if before != 0 && before != thread {
            atomic::exchange(&raw mut (*slot).net, NET_SEVERAL);
        }
        if atomic::or(&raw mut (*slot).pending, Word::of_net().0) == 0 {
            queue(index);
        }
    }
}

/// A hook has told of what the safety net may have seen, as the same thread does.
#[inline(always)]
unsafe fn told(slot: *mut Slot, by: u32) {
    // SAFETY: `slot` is a map value.
    unsafe {
        let net = (&raw const (*slot).net).read_volatile();
        // Completions come in other threads than the one in which the net saw the write begin.
        let ours = match by {
            CURRENT => net as u32 == kernel::thread(),
            by => (net >> 32) as u32 == by,
        };
        if net != 0 && net != NET_SEVERAL && ours {
            atomic::compare_exchange(&raw mut (*slot).net, net, 0);
        }
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
    // SAFETY: the value is copied at once; the daemon only ever inserts and removes whole entries.
    let index = unsafe { WATCHED.get(&key) }.copied();
    if let Some(index) = index {
        let generation = match generation {
            Some(noted) => noted,
            None => kernel::generation(inode),
        };
        mark::<FINAL>(index, inode, generation, what.changes, by());
    }
    if event::wanted() {
        event::tell(key, inode, dentry, by(), what);
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
        if FINAL {
            told(slot, by);
        }
        // The version rises before the bits show, so whoever takes the bits reads a version that covers them.
        let version = atomic::add(&raw mut (*slot).version, 1) + 1;
        (&raw mut (*slot).inode).write_volatile(inode);
        if FINAL {
            store_attrs(slot, inode, version);
        }
        dirty(slot, index, word(changes, by));
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
    unsafe {
        atomic::add(&raw mut (*slot).version, 1);
        dirty(slot, index, word);
    }
}

#[inline(always)]
unsafe fn dirty(slot: *mut Slot, index: u32, word: Word) {
    count(Counter::Marked);
    // SAFETY: `slot` is a map value.
    if unsafe { atomic::or(&raw mut (*slot).pending, word.0) } == 0 {
        queue(index);
    } else {
        count(Counter::Coalesced);
    }
}

/// An overlay's inode gets size and times late, and stores to a mapping change them late: what it says now may never
/// be told. Whoever finds the lock taken leaves the attributes to the holder; the versions then differ, which tells
/// the daemon not to trust them.
#[inline(always)]
unsafe fn store_attrs(slot: *mut Slot, inode: u64, version: u64) {
    if kernel::is_overlay(inode) || kernel::mapped(inode) > 0 {
        return;
    }
    // SAFETY: `slot` is a map value.
    unsafe {
        if atomic::try_lock(&raw mut (*slot).attrs_lock) {
            (&raw mut (*slot).attrs).write_volatile(kernel::attrs(inode));
            (&raw mut (*slot).attrs_version).write_volatile(version);
            atomic::unlock(&raw mut (*slot).attrs_lock);
        }
    }
}

/// Puts a slot that has just become dirty into the ring. A full ring loses nothing: the slot stays dirty and
/// the flag sends the daemon to look at all slots. The second attempt wakes it in case it emptied the ring
/// between the first one and the flag.
#[inline(always)]
fn queue(index: u32) {
    if DIRTY.output::<u32>(index, 0).is_ok() {
        return;
    }
    count(Counter::RingFull);
    debug!(&(), "dirty ring full at slot {}: scan", index);
    if let Some(control) = control() {
        // SAFETY: the map returned it; only this value is ever written here.
        unsafe { (&raw mut (*control).scan).write_volatile(1) };
        let _ = DIRTY.output::<u32>(SCAN, u64::from(BPF_RB_FORCE_WAKEUP));
    }
}
