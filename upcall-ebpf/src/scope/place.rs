//! Where an inode is: its dentries, their parents, and which of these are scopes.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel_str, macros::raw_tracepoint, programs::RawTracePointContext,
};
use upcall_common::abi::{
    CHILD_PATH, Child, DEEPEST, PATH_PIECE, PLACE_ROOTS, PLACES, Place, SCOPE_CHILDREN, SCOPE_SUBTREE,
};

use super::{LINKED, MAY_BE_LINKED, NEW, STAYS, Seen};
use crate::{
    atomic, index,
    kernel::{self, offset, probe},
    maps::{CHILDREN, PLACES as ANSWERS, SLOTS},
};

/// No dentry: none is in a scope.
pub const NONE: u64 = 0;
/// No dentry: nobody knows, for there are too many directories above.
pub const TOO_DEEP: u64 = 1;

/// Names of an inode that are looked at.
const ALIASES: u32 = 8;

/// A dentry of the inode that is in some scope.
#[inline(always)]
pub fn scoped_dentry(seen: &Seen) -> u64 {
    let mut deep = false;
    if seen.dentry != 0 {
        match member(seen.dentry) {
            IN => return seen.dentry,
            DEEP => deep = true,
            _ => {}
        }
    }
    let mut node: u64 = if seen.motion == LINKED { 0 } else { first_alias(seen.inode) };
    for _ in 0..ALIASES {
        if node == 0 {
            break;
        }
        let dentry = node - u64::from(offset!(dentry_alias));
        match if is_hashed(dentry) { member(dentry) } else { OUT } {
            IN => return dentry,
            DEEP => deep = true,
            _ => {}
        }
        node = probe(node, 0);
    }
    if deep { TOO_DEEP } else { NONE }
}

#[inline(always)]
fn first_alias(inode: u64) -> u64 {
    if inode == 0 { 0 } else { probe(inode, offset!(inode_aliases)) }
}

/// Whether an inode that is in no scope may come into one by this change.
#[inline(always)]
pub fn may_appear(seen: &Seen) -> bool {
    // XFS goes on with an inode that has left memory.
    if kernel::is_dying(seen.inode) {
        return false;
    }
    if seen.motion == NEW || seen.motion == LINKED || seen.motion == MAY_BE_LINKED {
        return true;
    }
    // With a link, but no name that the kernel remembers, it is new. Without a link, it is being removed.
    let linked = probe::<u32>(seen.inode, offset!(inode_nlink)) != 0;
    linked && (seen.motion != STAYS || first_alias(seen.inode) == 0)
}

/// Whether a dentry is a name that can be found.
#[inline(always)]
pub fn is_hashed(dentry: u64) -> bool {
    probe::<u64>(dentry, offset!(dentry_hashed)) != 0
}

const OUT: u64 = 0;
const IN: u64 = 1;
const DEEP: u64 = 2;

/// Whether a dentry is in some scope. Exported as [`crate::index::slot_of`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn member(dentry: u64) -> u64 {
    let mut dentry = dentry;
    for level in 1..=DEEPEST {
        let parent: u64 = probe(dentry, offset!(dentry_parent));
        if parent == 0 || parent == dentry {
            return OUT;
        }
        if root(parent, level).is_some() {
            return IN;
        }
        dentry = parent;
    }
    DEEP
}

/// The slot of the directory, if that is a scope for what is so many levels below.
#[inline(always)]
fn root(directory: u64, level: u32) -> Option<u32> {
    let inode: u64 = probe(directory, offset!(dentry_inode));
    let slot = index::find(&kernel::probe_key(inode))?;
    let found = SLOTS.get_ptr(slot)?;
    // SAFETY: the map returned it.
    let scope = unsafe { (&raw const (*found).scope).read_volatile() };
    let enough = if level == 1 { SCOPE_CHILDREN | SCOPE_SUBTREE } else { SCOPE_SUBTREE };
    (scope & enough != 0).then_some(slot)
}

/// The child has no place yet: notes where it is, if it is somewhere now.
#[inline(always)]
pub fn note(child: u32, seen: &Seen) {
    let dentry = scoped_dentry(seen);
    let (from, to) = match dentry {
        TOO_DEEP => return,
        NONE if seen.motion == STAYS => (Child::UNPLACED, Child::ELSEWHERE),
        NONE => (Child::ELSEWHERE, Child::UNPLACED),
        _ => return store(child, dentry, Child::PLACED_LATER),
    };
    if let Some(child) = CHILDREN.get_ptr_mut(child) {
        // SAFETY: the map returned it.
        unsafe { atomic::compare_exchange(&raw mut (*child).state, from, to) };
    }
}

/// Notes where a child is.
#[inline(always)]
pub fn store(index: u32, dentry: u64, state: u64) {
    let Some(child) = CHILDREN.get_ptr_mut(index) else { return };
    // SAFETY: the map returned it; who gets the state from one to the other is alone.
    unsafe {
        let word = &raw mut (*child).state;
        if atomic::compare_exchange(word, Child::UNPLACED, Child::PLACING)
            || atomic::compare_exchange(word, Child::ELSEWHERE, Child::PLACING)
        {
            describe(index, dentry);
            atomic::exchange(word, state);
        }
    }
}

/// Argument 0: the address of an inode. Where is it, by each of its names? One that is empty ends them.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn locate(ctx: RawTracePointContext) -> i32 {
    let mut node = first_alias(ctx.arg::<u64>(0));
    let mut answer = 0;
    for _ in 0..ALIASES {
        if node == 0 || answer >= PLACES {
            break;
        }
        let dentry = node - u64::from(offset!(dentry_alias));
        if is_hashed(dentry) {
            describe(ANSWER | answer, dentry);
            answer += 1;
        }
        node = probe(node, 0);
    }
    if answer < PLACES {
        describe(ANSWER | answer, 0);
    }
    0
}

/// Names one of the answers to the daemon, not a child.
const ANSWER: u32 = 1 << 31;

#[inline(always)]
fn place(which: u32) -> Option<*mut Place> {
    if which & ANSWER != 0 {
        return ANSWERS.get_ptr_mut(which & !ANSWER);
    }
    // SAFETY: the map returned it.
    CHILDREN.get_ptr_mut(which).map(|child| unsafe { &raw mut (*child).place })
}

/// Writes where a dentry is. Exported as [`crate::index::slot_of`] is, and so is a step of it, which keeps all it knows
/// in the place: what the verifier knew of it, it would follow through all steps.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn describe(which: u32, dentry: u64) -> i32 {
    let Some(place) = place(which) else { return 0 };
    // SAFETY: the map returned it, and nobody else writes it meanwhile.
    unsafe {
        (&raw mut (*place).found).write_volatile(0);
        (&raw mut (*place).cut).write_volatile(0);
        (&raw mut (*place).len).write_volatile(0);
    }
    let mut dentry = dentry;
    for level in 1..=DEEPEST + 1 {
        dentry = step(which, dentry, level);
        if dentry == 0 {
            break;
        }
    }
    0
}

/// Writes the name of a dentry, and whether the directory above is a scope; which is the next dentry, or 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn step(which: u32, dentry: u64, level: u32) -> u64 {
    const ROOM: u32 = (CHILD_PATH - PATH_PIECE) as u32;
    let Some(place) = place(which) else { return 0 };
    let parent: u64 = probe(dentry, offset!(dentry_parent));
    if parent == 0 || parent == dentry {
        return 0;
    }
    let name: u64 = probe(dentry, offset!(dentry_name));
    // SAFETY: the map returned it; offsets are checked.
    unsafe {
        let used = (&raw const (*place).len).read_volatile();
        let mut cut = used > ROOM || level > DEEPEST;
        if !cut {
            let out = (&raw mut (*place).path).byte_add(used as usize);
            let got = bpf_probe_read_kernel_str(out.cast(), PATH_PIECE as u32, name as *const _);
            cut = got <= 0;
            if !cut {
                (&raw mut (*place).len).write_volatile(used + got as u32);
            }
        }
        let found = (&raw const (*place).found).read_volatile();
        if !cut && let Some(slot) = root(parent, level) {
            cut = found >= PLACE_ROOTS as u32;
            if !cut {
                (&raw mut (*place).roots).cast::<u32>().add(found as usize).write_volatile(slot);
                (&raw mut (*place).names).cast::<u32>().add(found as usize).write_volatile(level);
                (&raw mut (*place).found).write_volatile(found + 1);
            }
        }
        if cut {
            (&raw mut (*place).cut).write_volatile(1);
            return 0;
        }
    }
    parent
}
