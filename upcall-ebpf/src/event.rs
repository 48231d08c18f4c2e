//! Events for `upcall debug`: lossy, off unless somebody looks.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns,
    generated::bpf_probe_read_kernel_str,
};
use upcall_common::{
    abi::{Counter, EVENT_PATH, Event, Key, PATH_PIECE},
    change::DATA,
};

use crate::{
    kernel::{self, offset},
    maps::{EVENTS, control, count},
    mark::{self, Change},
};

/// Directories above the changed inode that an event can name.
const MAX_DEPTH: u32 = 16;

/// Whether somebody looks.
#[inline(always)]
pub fn wanted() -> bool {
    // SAFETY: the map returned it.
    control().is_some_and(|control| unsafe { (&raw const (*control).events_on).read_volatile() } != 0)
}

/// What an event is about.
#[repr(C)]
pub struct Told {
    pub key: Key,
    pub inode: u64,
    /// 0: one is taken from the inode.
    pub dentry: u64,
    pub what: Change,
    pub by: u32,
}

/// Writes an event. Exported as [`crate::index::slot_of`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell(told: *const Told) -> i32 {
    // SAFETY: the callers' own, alive until this returns; the verifier wants to see that it may not be null.
    if let Some(told) = unsafe { told.as_ref() } {
        write(told);
    }
    0
}

#[inline(always)]
fn write(told: &Told) {
    let &Told { key, inode, dentry, what, by } = told;
    // Whoever looks writes what is shown to one of these: that must not be shown again.
    if what.changes & DATA != 0 && kernel::is_stream(inode) {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        count(Counter::EventsLost);
        return;
    };
    let event = entry.as_mut_ptr();
    let (pid_tgid, uid_gid) = (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid());
    // A request may be completed in any task.
    let (tgid, tid) = match (pid_tgid >> 32) as u32 {
        current if by == mark::CURRENT || by == current => (current, pid_tgid as u32),
        _ => (by, 0),
    };
    // SAFETY: `event` points to the reserved record; every field is written before it is submitted, but for
    // the part of `path` beyond `path_len`, which the daemon does not read.
    unsafe {
        (&raw mut (*event).time).write(bpf_ktime_get_ns());
        (&raw mut (*event).ino).write(key.ino);
        (&raw mut (*event).amount).write(what.amount);
        (&raw mut (*event).dev).write(key.dev);
        (&raw mut (*event).subvolume).write(key.subvolume);
        (&raw mut (*event).tgid).write(tgid);
        (&raw mut (*event).tid).write(tid);
        (&raw mut (*event).uid).write(uid_gid as u32);
        (&raw mut (*event).changes).write(what.changes);
        (&raw mut (*event).op).write(what.op);
        (&raw mut (*event).hook).write(what.hook as u16);
        (&raw mut (*event).comm).write(bpf_get_current_comm().unwrap_or_default());
        let dentry = if dentry == 0 { alias(inode) } else { dentry };
        let (len, whole) = path(&raw mut (*event).path, dentry);
        (&raw mut (*event).path_len).write(len);
        (&raw mut (*event).path_whole).write(whole as u32);
    }
    count(Counter::Events);
    entry.submit(0);
}

/// One dentry of an inode that came without.
#[inline(always)]
fn alias(inode: u64) -> u64 {
    match kernel::probe::<u64>(inode, offset!(inode_aliases)) {
        0 => 0,
        node => node - u64::from(offset!(dentry_alias)),
    }
}

/// Names from `dentry` upwards; how many bytes, and whether they reach the filesystem's root.
#[inline(always)]
unsafe fn path(out: *mut [u8; EVENT_PATH], mut dentry: u64) -> (u32, bool) {
    const ROOM: usize = EVENT_PATH - PATH_PIECE;
    let mut used: usize = 0;
    for _ in 0..MAX_DEPTH {
        let parent: u64 = kernel::probe(dentry, offset!(dentry_parent));
        if dentry == 0 || parent == dentry {
            return (used as u32, dentry != 0);
        }
        if used > ROOM {
            break;
        }
        let name: u64 = kernel::probe(dentry, offset!(dentry_name));
        // SAFETY: `used` was checked to leave room for a whole piece.
        let got = unsafe {
            bpf_probe_read_kernel_str(out.byte_add(used).cast(), PATH_PIECE as u32, name as *const _)
        };
        if got <= 0 || got > PATH_PIECE as i64 {
            break;
        }
        used += got as usize;
        dentry = parent;
    }
    (used as u32, false)
}
