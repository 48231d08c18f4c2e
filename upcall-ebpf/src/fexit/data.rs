//! File contents: writes by every way in, copies, space, mappings.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use upcall_common::{
    abi::{Hook, Op},
    change::{DATA, SIZE, TIMES},
};

use super::{returned, returned_int};
use crate::{
    kernel::{self, Ptr, load, offset, probe},
    maps::SUBMITTERS,
    mark::{self, Change},
};

pub(super) const WRITTEN: u32 = DATA | SIZE | TIMES;

#[inline(always)]
fn written(file: Ptr, op: Op, hook: Hook, amount: i64) -> i32 {
    changed(file, WRITTEN, op, hook, amount)
}

#[inline(always)]
pub(super) fn changed(file: Ptr, changes: u32, op: Op, hook: Hook, amount: i64) -> i32 {
    if amount > 0 && !file.is_null() {
        let dentry = load::<u64>(file, offset!(file_dentry));
        let what = Change { changes, op: op as u16, hook, amount: amount as u64 };
        mark::change::<true>(kernel::inode_of_file(file), dentry, what);
    }
    0
}

/// As [`changed`], also for who uses the file through an overlay: the kernel calls the hook for the file of the
/// layer below alone.
#[inline(always)]
pub(super) fn changed_below(file: Ptr, changes: u32, op: Op, hook: Hook, amount: i64) -> i32 {
    changed(file, changes, op, hook, amount);
    if amount > 0 && !file.is_null() {
        let inode = kernel::above(file);
        if inode != 0 {
            let what = Change { changes, op: op as u16, hook, amount: amount as u64 };
            mark::by_current(kernel::probe_key(inode), inode, 0, what);
        }
    }
    0
}

/// `ssize_t vfs_write(struct file *file, const char *buf, size_t count, loff_t *pos)`
#[fexit(function = "vfs_write")]
pub fn vfs_write(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Op::Write, Hook::VfsWrite, returned(&ctx))
}

const WRITE: i32 = 1;

/// `ssize_t do_iter_readv_writev(struct file *filp, struct iov_iter *iter, loff_t *ppos, int type, rwf_t flags)`
#[fexit(function = "do_iter_readv_writev")]
pub fn do_iter_readv_writev(ctx: FExitContext) -> i32 {
    if ctx.arg::<i32>(3) != WRITE {
        return 0;
    }
    written(ctx.arg(0), Op::Write, Hook::DoIterReadvWritev, returned(&ctx))
}

/// `ssize_t vfs_iocb_iter_write(struct file *file, struct kiocb *iocb, struct iov_iter *iter)`
#[fexit(function = "vfs_iocb_iter_write")]
pub fn vfs_iocb_iter_write(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Op::Write, Hook::VfsIocbIterWrite, returned(&ctx))
}

/// `ssize_t __kernel_write_iter(struct file *file, struct iov_iter *from, loff_t *pos)`
#[fexit(function = "__kernel_write_iter")]
pub fn __kernel_write_iter(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Op::Write, Hook::KernelWriteIter, returned(&ctx))
}

pub(super) const IOCB_WRITE: u32 = 1 << 18;

/// A finished request: `request` holds a kiocb at its start, or is one. The kiocb sits in a byte array inside
/// an `io_kiocb`, where the verifier knows no types. Completions may run in an interrupt, where the current
/// task is anybody; hence `by`.
#[inline(always)]
fn finished(request: Ptr, op: Op, hook: Hook, result: i64, by: impl Fn() -> u32) -> i32 {
    let kiocb = request as u64;
    // 0: a direct write whose result the submitter computes afterwards.
    if result < 0 || probe::<u32>(kiocb, offset!(kiocb_flags)) & IOCB_WRITE == 0 {
        return 0;
    }
    let file: u64 = probe(kiocb, offset!(kiocb_file));
    if file == 0 {
        return 0;
    }
    let inode: u64 = probe(file, offset!(file_inode));
    let dentry: u64 = probe(file, offset!(file_dentry));
    let what = Change { changes: WRITTEN, op: op as u16, hook, amount: result as u64 };
    mark::by(kernel::probe_key(inode), inode, dentry, by, what);
    0
}

/// The kiocb of a request is where the request is.
#[inline(always)]
fn uring(request: Ptr, hook: Hook, result: i64) -> i32 {
    finished(request, Op::Uring, hook, result, || kernel::submitter(request as u64))
}

/// `int kiocb_done(struct io_kiocb *req, ssize_t ret, ...)`, before the completion is posted. (5.15: `void
/// kiocb_done(struct kiocb *kiocb, ...)`; either way the kiocb is at the start.)
#[fentry(function = "kiocb_done")]
pub fn kiocb_done(ctx: FEntryContext) -> i32 {
    uring(ctx.arg(0), Hook::KiocbDone, ctx.arg(1))
}

/// `void io_complete_rw(struct kiocb *kiocb, long int res)`
#[fentry(function = "io_complete_rw")]
pub fn io_complete_rw(ctx: FEntryContext) -> i32 {
    uring(ctx.arg(0), Hook::IoCompleteRw, ctx.arg(1))
}

/// `void io_complete_rw_iopoll(struct kiocb *kiocb, long int res)`
#[fentry(function = "io_complete_rw_iopoll")]
pub fn io_complete_rw_iopoll(ctx: FEntryContext) -> i32 {
    uring(ctx.arg(0), Hook::IoCompleteRwIopoll, ctx.arg(1))
}

/// `int aio_write(struct kiocb *req, const struct iocb *iocb, bool vectored, bool compat)`
#[fentry(function = "aio_write")]
pub fn aio_write_entry(ctx: FEntryContext) -> i32 {
    // Full: the oldest goes, and its change is told to everybody.
    let _ = SUBMITTERS.insert(ctx.arg::<u64>(0), kernel::originator(), 0);
    0
}

/// `void aio_complete_rw(struct kiocb *kiocb, long int res)`
#[fentry(function = "aio_complete_rw")]
pub fn aio_complete_rw(ctx: FEntryContext) -> i32 {
    let request = ctx.arg::<u64>(0);
    // SAFETY: the value is copied at once.
    let by = unsafe { SUBMITTERS.get(&request) }.copied().unwrap_or(mark::UNKNOWN);
    let _ = SUBMITTERS.remove(&request);
    finished(ctx.arg(0), Op::Aio, Hook::AioCompleteRw, ctx.arg(1), || by)
}

/// `ssize_t iter_file_splice_write(struct pipe_inode_info *pipe, struct file *out, loff_t *ppos, size_t len,
/// unsigned int flags)`
#[fexit(function = "iter_file_splice_write")]
pub fn iter_file_splice_write(ctx: FExitContext) -> i32 {
    changed_below(ctx.arg(1), WRITTEN, Op::Splice, Hook::IterFileSpliceWrite, returned(&ctx))
}

/// `ssize_t vfs_copy_file_range(struct file *file_in, loff_t pos_in, struct file *file_out, loff_t pos_out,
/// size_t len, unsigned int flags)`
#[fexit(function = "vfs_copy_file_range")]
pub fn vfs_copy_file_range(ctx: FExitContext) -> i32 {
    written(ctx.arg(2), Op::Copy, Hook::VfsCopyFileRange, returned(&ctx))
}

/// `loff_t vfs_clone_file_range(struct file *file_in, loff_t pos_in, struct file *file_out, loff_t pos_out,
/// loff_t len, unsigned int remap_flags)`
#[fexit(function = "vfs_clone_file_range")]
pub fn vfs_clone_file_range(ctx: FExitContext) -> i32 {
    written(ctx.arg(2), Op::Clone, Hook::VfsCloneFileRange, returned(&ctx))
}

/// `loff_t vfs_dedupe_file_range_one(struct file *src_file, loff_t src_pos, struct file *dst_file, loff_t
/// dst_pos, loff_t len, unsigned int remap_flags)`
#[fexit(function = "vfs_dedupe_file_range_one")]
pub fn vfs_dedupe_file_range_one(ctx: FExitContext) -> i32 {
    written(ctx.arg(2), Op::Dedupe, Hook::VfsDedupeFileRangeOne, returned(&ctx))
}

const EPERM: i64 = 1;
const EBADF: i64 = 9;
const EINVAL: i64 = 22;
const ETXTBSY: i64 = 26;
const EOPNOTSUPP: i64 = 95;

/// `int vfs_fallocate(struct file *file, int mode, loff_t offset, loff_t len)`
#[fexit(function = "vfs_fallocate")]
pub fn vfs_fallocate(ctx: FExitContext) -> i32 {
    // Other errors come half-way: some blocks have been allocated or cleared, and the size may have grown.
    if matches!(-returned_int(&ctx), EPERM | EBADF | EINVAL | ETXTBSY | EOPNOTSUPP) {
        return 0;
    }
    written(ctx.arg(0), Op::Fallocate, Hook::VfsFallocate, ctx.arg::<i64>(3))
}

/// `int vfs_fsync_range(struct file *file, loff_t start, loff_t end, int datasync)`: stores to pages that were
/// dirty already show at the latest here. Only files that may be mapped writable are of interest, but marking
/// any file that was synced costs a spurious upcall at most.
#[fexit(function = "vfs_fsync_range")]
pub fn vfs_fsync_range(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Op::Fsync, Hook::VfsFsyncRange, 1)
}
