//! Changes of inodes below a directory that somebody is interested in: whether an inode is below one is decided here, at
//! the change, by the parents of its dentries.

mod place;

use upcall_common::{
    abi::{CHILD, Child, Key, Op, Word},
    protocol::{self, Ring},
};

use crate::{
    atomic, kernel,
    maps::{CHILD_INDEX, CHILDREN, FREE_CHILDREN, SCOPED, control},
    shared::{Dirty, View},
};

/// A change of an inode on a filesystem with scopes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Seen {
    key: Key,
    inode: u64,
    /// 0: the inode's own are looked at alone.
    dentry: u64,
    word: u64,
    generation: u32,
    /// One of those below.
    motion: u32,
}

/// It stays where its names say it is.
const STAYS: u32 = 0;
/// It may be about to come into a scope.
const MAY_MOVE: u32 = 1;
/// The same, also without a name so far.
const MAY_BE_LINKED: u32 = 2;
/// It is new: its names do not say where it was.
const NEW: u32 = 3;
/// It has got a name beside the one of the dentry, which alone says where it was.
const LINKED: u32 = 4;

/// An inode has changed.
#[inline(always)]
pub fn changed(key: Key, inode: u64, generation: u32, dentry: u64, word: Word, op: u16) {
    if is_scoped(key.dev) {
        let motion = if dentry != 0 && op == Op::Link as u16 { LINKED } else { motion(op) };
        // What has lost its name is where it was only for who tells of that.
        let dentry = if removes(op) || place::is_hashed(dentry) { dentry } else { 0 };
        see(&Seen { key, inode, dentry, word: word.0, generation, motion });
    }
}

/// A new inode has got its first name.
#[inline(always)]
pub fn appeared(inode: u64, word: Word) {
    let key = kernel::probe_key(inode);
    if is_scoped(key.dev) {
        let generation = kernel::generation(inode);
        see(&Seen { key, inode, dentry: 0, word: word.0, generation, motion: NEW });
    }
}

/// Whether there are scopes on the filesystem.
#[inline(always)]
pub fn is_scoped(dev: u32) -> bool {
    // SAFETY: the map returned it.
    control().is_some_and(|control| unsafe { (&raw const (*control).scopes).read_volatile() } != 0)
        // SAFETY: it is not looked at.
        && unsafe { SCOPED.get(&dev) }.is_some()
}

/// What a change may do to the inode's names.
#[inline(always)]
fn motion(op: u16) -> u32 {
    const LINKS: u64 = bit(Op::Unknown) | bit(Op::Link);
    const MOVES: u64 = bit(Op::Rename);
    match 1 << (op & 63) {
        op if LINKS & op != 0 => MAY_BE_LINKED,
        op if MOVES & op != 0 => MAY_MOVE,
        _ => STAYS,
    }
}

#[inline(always)]
fn removes(op: u16) -> bool {
    const OPS: u64 = bit(Op::Unlink) | bit(Op::Rmdir) | bit(Op::Rename);
    OPS >> (op & 63) & 1 != 0
}

const fn bit(op: Op) -> u64 {
    1 << op as u16
}

/// Exported as [`crate::index::slot_of`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn see(seen: *const Seen) -> i32 {
    // SAFETY: as in [`crate::event::tell`].
    if let Some(seen) = unsafe { seen.as_ref() } {
        handle(seen);
    }
    0
}

#[inline(always)]
fn handle(seen: &Seen) {
    if let Some(index) = find(&seen.key)
        && is_of(index, seen)
    {
        mark(index, seen.word);
        match state(index) {
            Child::UNPLACED | Child::ELSEWHERE => place::note(index, seen),
            _ => {}
        }
        // The daemon may have given it up just before the mark; if it is there still, the daemon has yet to look.
        if find(&seen.key) == Some(index) {
            return;
        }
    }
    let dentry = if seen.motion == NEW { place::NONE } else { place::scoped_dentry(seen) };
    if dentry == place::TOO_DEEP {
        return rescan();
    }
    if dentry == place::NONE && !place::may_appear(seen) {
        return;
    }
    let Some(index) = claim(seen) else { return rescan() };
    if dentry != place::NONE {
        place::store(index, dentry, Child::PLACED);
    }
    mark(index, seen.word);
}

#[inline(always)]
fn find(key: &Key) -> Option<u32> {
    // SAFETY: the value is copied at once; values are only ever inserted and removed whole.
    unsafe { CHILD_INDEX.get(key) }.copied()
}

/// Whether a child is the inode's, which may have come to another address meanwhile.
#[inline(always)]
fn is_of(index: u32, seen: &Seen) -> bool {
    let Some(child) = CHILDREN.get_ptr_mut(index) else { return false };
    // SAFETY: the map returned it. At worst a late program writes this of another inode, which then is looked for by its
    // path alone.
    unsafe {
        let slot = &raw mut (*child).slot;
        let (generation, inode) = (&raw mut (*slot).generation, &raw mut (*slot).inode);
        if generation.read_volatile() == seen.generation {
            inode.write_volatile(seen.inode);
            return true;
        }
        // A new inode may get its generation only after its first mark; its number may have been another one's just before.
        let same = generation.read_volatile() == 0 && inode.read_volatile() == seen.inode;
        if same {
            generation.write_volatile(seen.generation);
        }
        same
    }
}

#[inline(always)]
fn state(index: u32) -> u64 {
    // SAFETY: the map returned it.
    CHILDREN
        .get_ptr(index)
        .map_or(Child::FREE, |child| unsafe { (&raw const (*child).state).read_volatile() })
}

#[inline(always)]
fn mark(index: u32, word: u64) {
    if let Some(child) = CHILDREN.get_ptr_mut(index) {
        // SAFETY: the map returned it, and a child begins with its slot.
        let slot = unsafe { View::new(child.cast()) };
        protocol::mark(&slot, &Dirty, index | CHILD, Word(word), |_| ());
    }
}

/// A child for the inode, which has none.
#[inline(always)]
fn claim(seen: &Seen) -> Option<u32> {
    let index = FREE_CHILDREN.pop().ok()??;
    let child = CHILDREN.get_ptr_mut(index)?;
    // SAFETY: the map returned it. It is nobody's until it is in the index; late marks for whoever had it before only
    // touch its word.
    unsafe {
        (&raw mut (*child).slot.key).write_volatile(seen.key);
        (&raw mut (*child).slot.generation).write_volatile(seen.generation);
        (&raw mut (*child).slot.inode).write_volatile(seen.inode);
        // As they are before the change, as far as the hook comes before it.
        (&raw mut (*child).slot.attrs).write_volatile(kernel::attrs(seen.inode));
        atomic::exchange(&raw mut (*child).state, Child::UNPLACED);
    }
    // Whatever is there is of an inode whose number this one has now, or was put there by another CPU just now: that
    // one's mark waits, too.
    CHILD_INDEX.insert(seen.key, index, 0).ok().map(|()| index)
}

/// What has changed cannot be said: everybody with a scope has to look.
#[inline(always)]
fn rescan() {
    if let Some(control) = control() {
        // SAFETY: the map returned it.
        unsafe { atomic::exchange(&raw mut (*control).rescan, 1) };
        Dirty.submit_wake();
    }
}
