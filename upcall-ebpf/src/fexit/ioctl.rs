//! Ioctls of filesystems' own, which no function of the VFS sees as what they are: extents moved or exchanged
//! between files, defragmentation, snapshots. The ioctl is noted on its way in; what it then locks or lets go of
//! has changed.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use upcall_common::{
    abi::{Hook, Op},
    change::{EARLY, OTHER},
};

use super::data::{WRITTEN, changed};
use crate::{
    kernel::{self, Ptr},
    maps::IOCTLS,
    mark::{self, Change},
};

const EXT4_IOC_MOVE_EXT: u32 = 0xc028_660f;
const EXT4_IOC_SWAP_BOOT: u32 = 0x6611;
const XFS_IOC_SWAPEXT: u32 = 0xc0c0_586d;
const XFS_IOC_EXCHANGE_RANGE: u32 = 0x4028_5881;
const XFS_IOC_COMMIT_RANGE: u32 = 0x4058_5883;
const BTRFS_IOC_ENCODED_WRITE: u32 = 0x4080_9440;
const FS_IOC_SETFLAGS: u32 = 0x4008_6602;
const FS_IOC_FSSETXATTR: u32 = 0x401c_5820;
const FS_IOC_ENABLE_VERITY: u32 = 0x4080_6685;

/// `int security_file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)`
#[fentry(function = "security_file_ioctl")]
pub fn security_file_ioctl_entry(ctx: FEntryContext) -> i32 {
    let (file, command): (Ptr, u32) = (ctx.arg(0), ctx.arg(1));
    let inode = kernel::inode_of_file(file);
    // Devices are asked millions of times a second.
    if !kernel::is_regular(inode) && !kernel::is_dir(inode) {
        return 0;
    }
    // These have hooks of their own.
    if matches!(command, FS_IOC_SETFLAGS | FS_IOC_FSSETXATTR | FS_IOC_ENABLE_VERITY) {
        let _ = IOCTLS.remove(&kernel::thread());
        return 0;
    }
    // A full table forgets who has been in it longest, and that one has long left its ioctl.
    let _ = IOCTLS.insert(kernel::thread(), command, 0);
    if command == BTRFS_IOC_ENCODED_WRITE {
        // It takes and lets go of nothing that could be hooked: the daemon looks when it is over.
        changed(file, WRITTEN | EARLY, Op::Ioctl, Hook::FileIoctlEntry, 1);
    }
    0
}

/// Of x86, where alone the number can be read.
const SYS_IOCTL: i64 = 16;

/// The ioctl that this thread is in. Most have no end that could be hooked, so what is noted may be of an earlier one.
#[inline(always)]
fn current() -> Option<u32> {
    // SAFETY: the value is copied at once.
    let command = unsafe { IOCTLS.get(&kernel::thread()) }.copied()?;
    kernel::syscall().is_none_or(|number| number == SYS_IOCTL).then_some(command)
}

#[inline(always)]
fn exchanges(command: u32) -> bool {
    matches!(
        command,
        EXT4_IOC_MOVE_EXT
            | EXT4_IOC_SWAP_BOOT
            | XFS_IOC_SWAPEXT
            | XFS_IOC_EXCHANGE_RANGE
            | XFS_IOC_COMMIT_RANGE
    )
}

/// `void mnt_drop_write_file(struct file *file)`: the end of most of them.
#[fexit(function = "mnt_drop_write_file")]
pub fn mnt_drop_write_file(ctx: FExitContext) -> i32 {
    let Some(command) = current() else { return 0 };
    let _ = IOCTLS.remove(&kernel::thread());
    let changes = if exchanges(command) { WRITTEN } else { OTHER };
    changed(ctx.arg(0), changes, Op::Ioctl, Hook::MntDropWriteFile, 1)
}

/// `void inode_dio_wait(struct inode *inode)`: called for either file, both locked, before their extents change.
#[fentry(function = "inode_dio_wait")]
pub fn inode_dio_wait_entry(ctx: FEntryContext) -> i32 {
    exchanged(ctx.arg(0), Hook::InodeDioWaitEntry)
}

/// `void truncate_pagecache_range(struct inode *inode, loff_t lstart, loff_t lend)`: the same.
#[fentry(function = "truncate_pagecache_range")]
pub fn truncate_pagecache_range_entry(ctx: FEntryContext) -> i32 {
    exchanged(ctx.arg(0), Hook::TruncatePagecacheRangeEntry)
}

#[inline(always)]
fn exchanged(inode: Ptr, hook: Hook) -> i32 {
    if current().is_some_and(exchanges) {
        let what = Change { changes: WRITTEN | EARLY, op: Op::Ioctl as u16, hook, amount: 0 };
        mark::change::<false>(inode, 0, what);
    }
    0
}
