//! The kernel side: what a BPF program does to a slot. Any number of them do so at once.

use super::{LOCKED, Shared, Slot};
use crate::abi::{NET_SEVERAL, Word};

/// The dirty ring, as BPF programs fill it.
pub trait Ring {
    type Word: Shared;

    /// Appends a slot's index; `false`: the ring is full. Wakes the daemon if it has read all before.
    fn submit(&self, index: u32) -> bool;
    /// Appends a record that names no slot, if there is room, and wakes the daemon.
    fn submit_wake(&self);
    fn scan(&self) -> Option<&Self::Word>;
}

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// The slot was clean: the ring names it now.
    Queued,
    /// The slot was clean, but the ring was full: the daemon will look at all slots.
    RingFull,
    /// The slot was dirty already.
    Coalesced,
}

/// Marks a slot. `describe` gets the new version, and stores what else is known of the inode.
#[inline(always)]
pub fn mark(
    slot: &impl Slot,
    ring: &impl Ring,
    index: u32,
    word: Word,
    describe: impl FnOnce(u64),
) -> Marked {
    // The version rises before the bits show, so whoever takes the bits reads a version that covers them.
    describe(slot.version().add(1) + 1);
    dirty(slot, ring, index, word)
}

/// Makes `word` pending, and has the slot looked at if nothing was.
#[inline(always)]
pub fn dirty(slot: &impl Slot, ring: &impl Ring, index: u32, word: Word) -> Marked {
    if slot.pending().or(word.0) == 0 { queue(ring, index) } else { Marked::Coalesced }
}

/// Puts a slot that has just become dirty into the ring. A full ring loses nothing: the slot stays dirty and the flag
/// sends the daemon to look at all slots. The second attempt wakes it in case it emptied the ring between the first
/// one and the flag; if that fails too, the daemon has yet to empty a ring that was full after the flag was set. The
/// ring looks at the daemon's position without a barrier of its own, so setting the flag must be one.
#[inline(always)]
pub fn queue(ring: &impl Ring, index: u32) -> Marked {
    if ring.submit(index) {
        return Marked::Queued;
    }
    if let Some(scan) = ring.scan() {
        scan.swap(1);
    }
    ring.submit_wake();
    Marked::RingFull
}

/// Has `store` store the inode's attributes, as those of `version`. Whoever finds the lock taken leaves them to the
/// holder; the versions then differ, which tells the daemon not to trust them.
#[inline(always)]
pub fn store_attrs(slot: &impl Slot, version: u64, store: impl FnOnce()) {
    if slot.lock().or(LOCKED) & LOCKED == 0 {
        store();
        slot.attrs_version().store(version);
        slot.lock().and(!LOCKED);
    }
}

/// The safety net saw a change in `thread`, of which a hook is to tell.
#[inline(always)]
pub fn net(slot: &impl Slot, ring: &impl Ring, index: u32, thread: u64) -> Marked {
    let before = slot.net().swap(thread);
    if before != 0 && before != thread {
        slot.net().swap(NET_SEVERAL);
    }
    dirty(slot, ring, index, Word::of_net())
}

/// A hook has told of what the safety net saw in a thread that is `ours`.
#[inline(always)]
pub fn hooked(slot: &impl Slot, ours: impl FnOnce(u64) -> bool) {
    let net = slot.net().load();
    if net != 0 && net != NET_SEVERAL && ours(net) {
        slot.net().replace(net, 0);
    }
}
