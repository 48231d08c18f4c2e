//! Who opens files that clients have leases of or have reserved. Loaded apart from the sources, and never pinned: what
//! denies must end with the daemon.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, lsm},
    programs::{BtfTracePointContext, LsmContext},
};
use upcall_common::abi::{Broken, DENY_READ, DENY_WRITE};

use crate::{
    atomic,
    kernel::{self, Ptr, load, offset},
    maps::{BREAKS, BREAKS_LOST, DENIED},
};

/// The daemon, which may open what it denies to others.
#[unsafe(no_mangle)]
static DAEMON: u32 = 0;

/// `void break_lease_block(struct inode *inode, struct file_lease *fl)`: in the process that is about to wait, under the
/// lock by which the lease is looked at.
#[btf_tracepoint(function = "break_lease_block")]
pub fn break_lease_block(ctx: BtfTracePointContext) -> i32 {
    breaks(ctx.arg(0))
}

/// `void break_lease_noblock(struct inode *inode, struct file_lease *fl)`
#[btf_tracepoint(function = "break_lease_noblock")]
pub fn break_lease_noblock(ctx: BtfTracePointContext) -> i32 {
    breaks(ctx.arg(0))
}

#[inline(always)]
fn breaks(inode: Ptr) -> i32 {
    let broken = Broken { inode: kernel::key(inode), by: kernel::originator(), pad: 0 };
    if BREAKS.output::<Broken>(broken, 0).is_err()
        && let Some(lost) = BREAKS_LOST.get_ptr_mut(0)
    {
        // SAFETY: the map returned it.
        unsafe { atomic::add(lost, 1) };
    }
    0
}

/// The same wherever BPF trampolines exist.
const O_TRUNC: u32 = 0o1000;

/// `int file_open(struct file *file)`
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let (file, before) = (ctx.arg::<Ptr>(0), ctx.arg::<i32>(1));
    let mode: u32 = load(file, offset!(file_mode));
    let flags: u32 = load(file, offset!(file_flags));
    // To open for reading may truncate as well.
    let truncates = if flags & O_TRUNC == 0 { 0 } else { DENY_WRITE };
    // As `FMODE_READ` and `FMODE_WRITE`.
    verdict(before, kernel::inode_of_file(file), mode & (DENY_READ | DENY_WRITE) | truncates)
}

/// `int path_truncate(const struct path *path)`: `truncate`, which opens nothing.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    let (path, before) = (ctx.arg::<Ptr>(0), ctx.arg::<i32>(1));
    let dentry = kernel::follow(path, offset!(path_dentry));
    verdict(before, kernel::inode_of_dentry(dentry), DENY_WRITE)
}

/// `before`: what programs before this one say.
#[inline(always)]
fn verdict(before: i32, inode: Ptr, wanted: u32) -> i32 {
    const EBUSY: i32 = 16;
    if before != 0 {
        return before;
    }
    // SAFETY: the value is copied at once.
    let denied = unsafe { DENIED.get(kernel::key(inode)) }.copied().unwrap_or(0);
    if denied & wanted == 0 || is_daemon() { 0 } else { -EBUSY }
}

#[inline(always)]
fn is_daemon() -> bool {
    // SAFETY: a plain read of a global; volatile, since its initial value means nothing.
    let daemon = unsafe { core::ptr::read_volatile(&raw const DAEMON) };
    (bpf_get_current_pid_tgid() >> 32) as u32 == daemon
}
