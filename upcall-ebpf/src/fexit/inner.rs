//! Functions below the VFS that kernel threads call directly (loop devices, storage targets): for any other task a
//! hook above them sees the same change, with its operation.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use upcall_common::{
    abi::{Hook, Op},
    change::EARLY,
};

use super::{
    data::{IOCB_WRITE, WRITTEN, changed_below},
    returned,
};
use crate::{
    kernel::{self, Ptr, follow, load, offset},
    maps::{DIRECT, Direct, SUBMITTERS},
    mark::{self, Change},
};

#[inline(always)]
fn written(request: Ptr, hook: Hook, ctx: &FExitContext) -> i32 {
    if kernel::in_kernel_thread() {
        changed_below(follow(request, offset!(kiocb_file)), WRITTEN, Op::Write, hook, returned(ctx));
    }
    0
}

/// `ssize_t generic_perform_write(struct kiocb *iocb, struct iov_iter *i)`
#[fexit(function = "generic_perform_write")]
pub fn generic_perform_write(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Hook::GenericPerformWrite, &ctx)
}

/// `ssize_t iomap_file_buffered_write(struct kiocb *iocb, struct iov_iter *from, const struct iomap_ops *ops, ...)`
#[fexit(function = "iomap_file_buffered_write")]
pub fn iomap_file_buffered_write(ctx: FExitContext) -> i32 {
    written(ctx.arg(0), Hook::IomapFileBufferedWrite, &ctx)
}

/// `ssize_t dax_iomap_rw(struct kiocb *iocb, struct iov_iter *iter, const struct iomap_ops *ops)`
#[fexit(function = "dax_iomap_rw")]
pub fn dax_iomap_rw(ctx: FExitContext) -> i32 {
    let request: Ptr = ctx.arg(0);
    if load::<u32>(request, offset!(kiocb_flags)) & IOCB_WRITE == 0 {
        return 0;
    }
    written(request, Hook::DaxIomapRw, &ctx)
}

/// `bool filemap_dirty_folio(struct address_space *mapping, struct folio *folio)`: for filesystems that write by
/// themselves (btrfs). The size may change after it.
#[fexit(function = "filemap_dirty_folio")]
pub fn filemap_dirty_folio(ctx: FExitContext) -> i32 {
    if kernel::in_kernel_thread() {
        let what = Change {
            changes: WRITTEN | EARLY,
            op: Op::Write as u16,
            hook: Hook::FilemapDirtyFolio,
            amount: 0,
        };
        mark::change::<false>(follow(ctx.arg(0), offset!(mapping_host)), 0, what);
    }
    0
}

const IOMAP_DIO_WRITE: u32 = 1 << 30;
const IOCB_DIO_CALLER_COMP: u32 = 1 << 22;

/// `ssize_t iomap_dio_complete(struct iomap_dio *dio)`: frees `dio` on the way.
#[fentry(function = "iomap_dio_complete")]
pub fn iomap_dio_complete_entry(ctx: FEntryContext) -> i32 {
    let dio: Ptr = ctx.arg(0);
    if load::<u32>(dio, offset!(dio_flags)) & IOMAP_DIO_WRITE == 0 {
        return 0;
    }
    let request = follow(dio, offset!(dio_iocb));
    let file = follow(request, offset!(kiocb_file));
    let (inode, dentry) = (kernel::inode_of_file(file), load::<u64>(file, offset!(file_dentry)));
    let key = kernel::key(inode);
    let by = if load::<u8>(dio, offset!(dio_waits)) & 1 != 0 {
        mark::CURRENT
    } else if load::<u32>(request, offset!(kiocb_flags)) & IOCB_DIO_CALLER_COMP != 0 {
        // Of io_uring: it has been told of before what comes here is done.
        kernel::submitter(request as u64)
    } else {
        // SAFETY: the value is copied at once.
        unsafe { SUBMITTERS.get(&(request as u64)) }.copied().unwrap_or(mark::UNKNOWN)
    };
    if by == mark::UNKNOWN || by == mark::CURRENT && kernel::in_kernel_thread() {
        // Nobody else may tell of it, and at exit the memory may be another one's.
        mark::quietly(key, WRITTEN | EARLY, mark::UNKNOWN);
    }
    let direct = Direct { inode: inode as u64, key, dentry, by, pad: 0 };
    // Full: the oldest goes, which has long been completed.
    let _ = DIRECT.insert(dio as u64, direct, 0);
    0
}

/// Of a direct write that its submitter waits for, a hook above tells, unless a kernel thread submitted it.
#[fexit(function = "iomap_dio_complete")]
pub fn iomap_dio_complete(ctx: FExitContext) -> i32 {
    let dio = ctx.arg::<u64>(0);
    // SAFETY: the value is copied at once.
    let Some(direct) = unsafe { DIRECT.get(&dio) }.copied() else { return 0 };
    let _ = DIRECT.remove(&dio);
    let written = returned(&ctx);
    if written <= 0 {
        return 0;
    }
    let Direct { inode, key, dentry, by, .. } = direct;
    let (op, hook) = (Op::Write as u16, Hook::IomapDioComplete);
    match by {
        mark::CURRENT if kernel::in_kernel_thread() => {
            let what = Change { changes: WRITTEN, op, hook, amount: written as u64 };
            mark::by_current(key, inode, dentry, what);
        }
        mark::CURRENT | mark::UNKNOWN => {}
        by => mark::quietly(key, WRITTEN, by),
    }
    0
}
