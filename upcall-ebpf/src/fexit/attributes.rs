//! Attributes: mode, owner, times, size by truncation, extended attributes, ACLs, inode flags.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use upcall_common::{
    abi::{Hook, Op},
    change::{ACL, ATIME, DATA, FLAGS, MODE, OWNER, SIZE, TIMES, XATTR},
};

use super::returned_int;
use crate::{
    kernel::{self, Ptr, load, offset, probe},
    mark::{self, Change},
};

const ATTR_MODE: u32 = 1;
const ATTR_UID: u32 = 1 << 1;
const ATTR_GID: u32 = 1 << 2;
const ATTR_SIZE: u32 = 1 << 3;
const ATTR_ATIME: u32 = 1 << 4;
const ATTR_MTIME: u32 = 1 << 5;
const ATTR_KILL: u32 = 1 << 11 | 1 << 12 | 1 << 14;

/// What a setattr with these `ia_valid` bits changes. Each sets ctime.
#[inline(always)]
fn setattr(valid: u32) -> (u32, Op) {
    let mut changes = TIMES;
    let mut op = Op::Setattr;
    if valid & (ATTR_ATIME | ATTR_MTIME) != 0 {
        changes |= if valid & ATTR_ATIME != 0 { ATIME } else { 0 };
        op = Op::Utimes;
    }
    if valid & (ATTR_MODE | ATTR_KILL) != 0 {
        // The mode is part of the ACL; dropped privileges may be an extended attribute.
        changes |= MODE | ACL | if valid & ATTR_KILL != 0 { XATTR } else { 0 };
        op = Op::Chmod;
    }
    if valid & (ATTR_UID | ATTR_GID) != 0 {
        changes |= OWNER;
        op = Op::Chown;
    }
    if valid & ATTR_SIZE != 0 {
        changes |= DATA | SIZE;
        op = Op::Truncate;
    }
    (changes, op)
}

#[inline(always)]
fn changed(dentry: Ptr, changes: u32, op: Op, hook: Hook, amount: u64) -> i32 {
    if !dentry.is_null() {
        let what = Change { changes, op: op as u16, hook, amount };
        mark::change::<true>(kernel::inode_of_dentry(dentry), dentry as u64, what);
    }
    0
}

/// `int notify_change(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr, ...)` (to 6.4:
/// `struct user_namespace *` first)
#[fexit(function = "notify_change")]
pub fn notify_change(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let valid = load::<u32>(ctx.arg(2), offset!(iattr_valid));
    let (changes, op) = setattr(valid);
    let packed = kernel::forget(u64::from(changes) | (op as u64) << 32);
    let (changes, op) = (packed as u32, (packed >> 32) as u16);
    let dentry: Ptr = ctx.arg(1);
    let what = Change { changes, op, hook: Hook::NotifyChange, amount: u64::from(valid) };
    mark::change::<true>(kernel::inode_of_dentry(dentry), dentry as u64, what);
    0
}

const ACL_CHANGES: u32 = ACL | MODE | XATTR | TIMES;

/// What setting or removing the attribute of this name is. To 6.1 an ACL is one like others, and an overlay hands it
/// down as such.
#[inline(always)]
fn extended(name: u64, op: Op) -> (u32, Op) {
    /// The beginning of `system.posix_acl_access` and `_default`, which no other name shares.
    const ACL_NAME: u64 = u64::from_le_bytes(*b"system.p");
    if probe::<u64>(name, 0) == ACL_NAME { (ACL_CHANGES, Op::Acl) } else { (XATTR | TIMES, op) }
}

/// `int __vfs_setxattr_noperm(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void
/// *value, size_t size, int flags)`
#[fexit(function = "__vfs_setxattr_noperm")]
pub fn __vfs_setxattr_noperm(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let (changes, op) = extended(ctx.arg(2), Op::Setxattr);
    changed(ctx.arg(1), changes, op, Hook::VfsSetxattrNoperm, ctx.arg::<u64>(4))
}

/// `int __vfs_removexattr_locked(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, ...)`
#[fexit(function = "__vfs_removexattr_locked")]
pub fn __vfs_removexattr_locked(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let (changes, op) = extended(ctx.arg(2), Op::Removexattr);
    changed(ctx.arg(1), changes, op, Hook::VfsRemovexattrLocked, 0)
}

/// `int set_posix_acl(struct mnt_idmap *idmap, struct dentry *dentry, int type, struct posix_acl *acl)` (to
/// 6.1: `struct inode *` in place of the dentry)
#[fexit(function = "set_posix_acl")]
pub fn set_posix_acl(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    if offset!(acl_takes_dentry) != 0 {
        return changed(ctx.arg(1), ACL_CHANGES, Op::Acl, Hook::SetPosixAcl, 0);
    }
    let what = Change { changes: ACL_CHANGES, op: Op::Acl as u16, hook: Hook::SetPosixAcl, amount: 0 };
    mark::change::<true>(ctx.arg(1), 0, what);
    0
}

/// `int vfs_fileattr_set(struct mnt_idmap *idmap, struct dentry *dentry, struct fileattr *fa)`
#[fexit(function = "vfs_fileattr_set")]
pub fn vfs_fileattr_set(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    changed(ctx.arg(1), FLAGS | TIMES, Op::Ioctl, Hook::VfsFileattrSet, 0)
}

/// `int fsverity_ioctl_enable(struct file *filp, const void __user *uarg)`
#[fexit(function = "fsverity_ioctl_enable")]
pub fn fsverity_ioctl_enable(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let file: Ptr = ctx.arg(0);
    changed(
        kernel::follow(file, offset!(file_dentry)),
        FLAGS | TIMES,
        Op::Ioctl,
        Hook::FsverityIoctlEnable,
        0,
    )
}
