//! Source `timestamp`: the tracepoints on which every filesystem updates an inode's ctime (Linux 6.13 on).
//! They fire before the change is visible and say only that there is one; the daemon's trailing edge makes up
//! for the first, the system call's number and a comparison of attributes for the second.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use upcall_common::{
    abi::{ABSENT, Hook, Op},
    change::{ANY, DATA, ENTRIES, OTHER, SIZE, TIMES, VOLATILE},
};

use crate::{
    kernel::{self, Ptr, load, offset},
    maps::{SYSCALLS, control},
    mark::{self, Change},
};

/// `void ctime_ns_xchg(struct inode *inode, u32 old, u32 new, u32 cur)`
#[btf_tracepoint(function = "ctime_ns_xchg")]
pub fn ctime_ns_xchg(ctx: BtfTracePointContext) -> i32 {
    seen(ctx.arg(0), Hook::CtimeNsXchg)
}

/// `void ctime_xchg_skip(struct inode *inode, struct timespec64 *ctime)`
#[btf_tracepoint(function = "ctime_xchg_skip")]
pub fn ctime_xchg_skip(ctx: BtfTracePointContext) -> i32 {
    seen(ctx.arg(0), Hook::CtimeXchgSkip)
}

/// `void inode_set_ctime_to_ts(struct inode *inode, struct timespec64 *ctime)`
#[btf_tracepoint(function = "inode_set_ctime_to_ts")]
pub fn inode_set_ctime_to_ts(ctx: BtfTracePointContext) -> i32 {
    seen(ctx.arg(0), Hook::InodeSetCtimeToTs)
}

#[inline(always)]
fn seen(inode: Ptr, hook: Hook) -> i32 {
    if is_net() {
        mark::net(kernel::key(inode));
        return 0;
    }
    let (changes, op) = classify(kernel::is_dir(inode));
    let what = Change { changes, op: op as u16, hook, amount: 0 };
    mark::alias(kernel::key(inode), what);
    mark::change::<false>(inode, 0, what);
    0
}

/// Whether hooks are the source, and these tracepoints the net below them.
#[inline(always)]
fn is_net() -> bool {
    // SAFETY: the map returned it.
    control().is_some_and(|control| unsafe { (&raw const (*control).net).read_volatile() != 0 })
}

const TS_COMPAT: u32 = 2;
const PF_KTHREAD_OR_IO_WORKER: u32 = 0x0020_0010;

/// What the current system call does to an inode. Anything, where that cannot be told for certain.
#[inline(always)]
fn classify(dir: bool) -> (u32, Op) {
    let unknown = (if dir { ANY | OTHER } else { (ANY & !ENTRIES) | OTHER }, Op::Unknown);
    let task = kernel::current();
    if load::<u32>(task, offset!(task_flags)) & PF_KTHREAD_OR_IO_WORKER != 0
        // A task with an io_uring runs its requests at the end of any system call.
        || (offset!(task_io_uring) != ABSENT && !load::<Ptr>(task, offset!(task_io_uring)).is_null())
        // A 32-bit call: other numbers.
        || load::<u32>(task, offset!(task_status)) & TS_COMPAT != 0
    {
        return unknown;
    }
    let Some(number) = kernel::syscall() else { return unknown };
    if number == -1 {
        // Not in a system call but in a page fault: a store to a mapping.
        return (DATA | SIZE | TIMES | VOLATILE, Op::Mmap);
    }
    let Some(entry) = SYSCALLS.get(number as u32) else { return unknown };
    let changes = if dir { entry.dir } else { entry.file };
    match Op::from_raw(entry.op as u16) {
        // What is opened changes by being truncated; what is created is new, and nobody watches it yet.
        Some(Op::Create) if !dir => (changes, Op::Truncate),
        Some(op) if changes != 0 => (changes, op),
        _ => unknown,
    }
}
