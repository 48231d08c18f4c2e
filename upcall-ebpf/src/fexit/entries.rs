//! Directory entries and links. Every one changes a directory (ENTRIES), most an inode's link count or name
//! as well. The parent is taken from the dentry: the `dir` argument of some functions went away in 6.19.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use upcall_common::{
    abi::{Hook, Op},
    change::{ENTRIES, NLINK, RENAME, TIMES},
};

use super::{returned, returned_int};
use crate::{
    kernel::{self, Ptr, follow, load, offset},
    maps::{REMOVALS, Removal},
    mark::{self, Change},
};

#[inline(always)]
fn parent_changed(dentry: Ptr, op: Op, hook: Hook) {
    let parent = kernel::parent_of_dentry(dentry);
    let what = Change { changes: ENTRIES | TIMES, op: op as u16, hook, amount: 0 };
    mark::change::<true>(kernel::inode_of_dentry(parent), parent as u64, what);
}

#[inline(always)]
fn made(dentry: Ptr, op: Op, hook: Hook, ok: bool) -> i32 {
    if ok {
        parent_changed(dentry, op, hook);
    }
    0
}

/// `int vfs_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool
/// want_excl)` (6.19: without `dir`)
#[fexit(function = "vfs_create")]
pub fn vfs_create(ctx: FExitContext) -> i32 {
    let ok = returned_int(&ctx) == 0;
    if offset!(create_dentry_arg) == 1 {
        made(ctx.arg(1), Op::Create, Hook::VfsCreate, ok)
    } else {
        made(ctx.arg(2), Op::Create, Hook::VfsCreate, ok)
    }
}

/// `int vfs_mknod(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev)`
#[fexit(function = "vfs_mknod")]
pub fn vfs_mknod(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), Op::Mknod, Hook::VfsMknod, returned_int(&ctx) == 0)
}

/// `int vfs_symlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, const char *oldname)`
#[fexit(function = "vfs_symlink")]
pub fn vfs_symlink(ctx: FExitContext) -> i32 {
    made(ctx.arg(2), Op::Symlink, Hook::VfsSymlink, returned_int(&ctx) == 0)
}

const MAX_ERRNO: i64 = 4095;

/// `struct dentry *vfs_mkdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode)`
/// (to 6.14: returns an int)
#[fexit(function = "vfs_mkdir")]
pub fn vfs_mkdir(ctx: FExitContext) -> i32 {
    let ok = if offset!(mkdir_returns_dentry) != 0 {
        !(-MAX_ERRNO..0).contains(&returned(&ctx))
    } else {
        returned_int(&ctx) == 0
    };
    made(ctx.arg(2), Op::Mkdir, Hook::VfsMkdir, ok)
}

const FMODE_CREATED: u32 = 0x10_0000;

/// `int do_dentry_open(struct file *f, ...)`: O_CREAT makes a file without `vfs_create`. The entry is there already, and
/// stays when the file then cannot be opened.
#[fentry(function = "do_dentry_open")]
pub fn do_dentry_open(ctx: FEntryContext) -> i32 {
    let file: Ptr = ctx.arg(0);
    if load::<u32>(file, offset!(file_mode)) & FMODE_CREATED == 0 {
        return 0;
    }
    made(follow(file, offset!(file_dentry)), Op::Create, Hook::DoDentryOpen, true)
}

/// `int vfs_link(struct dentry *old_dentry, struct mnt_idmap *idmap, struct inode *dir, struct dentry
/// *new_dentry, ...)`
#[fexit(function = "vfs_link")]
pub fn vfs_link(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let (old, new): (Ptr, Ptr) = (ctx.arg(0), ctx.arg(3));
    let what = Change { changes: NLINK | TIMES, op: Op::Link as u16, hook: Hook::VfsLink, amount: 0 };
    mark::change::<true>(kernel::inode_of_dentry(old), old as u64, what);
    parent_changed(new, Op::Link, Hook::VfsLink);
    0
}

/// Notes what `dentry` names before it is removed.
#[inline(always)]
fn note_removal(dentry: Ptr) -> i32 {
    let inode = kernel::inode_of_dentry(dentry);
    if !inode.is_null() {
        let (address, key) = (inode as u64, kernel::key(inode));
        let removal = Removal { inode: address, key, generation: kernel::generation(address), pad: 0 };
        // A full table evicts the oldest; an error would only mean that the key is gone already.
        let _ = REMOVALS.insert(dentry as u64, removal, 0);
    }
    0
}

#[inline(always)]
fn removed(dentry: Ptr, op: Op, hook: Hook, ok: bool) -> i32 {
    let address = dentry as u64;
    // SAFETY: the value is copied at once, and only this system call holds the dentry locked.
    let removal = unsafe { REMOVALS.get(&address) }.copied();
    let _ = REMOVALS.remove(&address);
    if ok {
        if let Some(Removal { inode, key, generation, .. }) = removal {
            let what = Change { changes: NLINK | TIMES, op: op as u16, hook, amount: 0 };
            mark::noted(key, inode, generation, address, what);
        }
        parent_changed(dentry, op, hook);
    }
    0
}

/// `int vfs_unlink(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, ...)`
#[fentry(function = "vfs_unlink")]
pub fn vfs_unlink_entry(ctx: FEntryContext) -> i32 {
    note_removal(ctx.arg(2))
}

#[fexit(function = "vfs_unlink")]
pub fn vfs_unlink(ctx: FExitContext) -> i32 {
    removed(ctx.arg(2), Op::Unlink, Hook::VfsUnlink, returned_int(&ctx) == 0)
}

/// `int vfs_rmdir(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry)`
#[fentry(function = "vfs_rmdir")]
pub fn vfs_rmdir_entry(ctx: FEntryContext) -> i32 {
    note_removal(ctx.arg(2))
}

#[fexit(function = "vfs_rmdir")]
pub fn vfs_rmdir(ctx: FExitContext) -> i32 {
    removed(ctx.arg(2), Op::Rmdir, Hook::VfsRmdir, returned_int(&ctx) == 0)
}

/// `int vfs_rename(struct renamedata *rd)`. The old directory must come from `rd`: after the move neither dentry
/// hangs below it.
#[fexit(function = "vfs_rename")]
pub fn vfs_rename(ctx: FExitContext) -> i32 {
    if returned_int(&ctx) != 0 {
        return 0;
    }
    let data: Ptr = ctx.arg(0);
    let (old, new) = (follow(data, offset!(rename_old_dentry)), follow(data, offset!(rename_new_dentry)));
    let renamed = |changes| Change { changes, op: Op::Rename as u16, hook: Hook::VfsRename, amount: 0 };
    mark::change::<true>(kernel::inode_of_dentry(old), old as u64, renamed(RENAME | TIMES));
    let replaced = kernel::inode_of_dentry(new);
    if !replaced.is_null() {
        mark::change::<true>(replaced, new as u64, renamed(RENAME | NLINK | TIMES));
    }
    let from = renamed_dir(follow(data, offset!(rename_old_dir)));
    let to = renamed_dir(follow(data, offset!(rename_new_dir)));
    mark::change::<true>(to, 0, renamed(ENTRIES | TIMES));
    if from != to {
        mark::change::<true>(from, 0, renamed(ENTRIES | TIMES));
    }
    0
}

#[inline(always)]
fn renamed_dir(dir: Ptr) -> Ptr {
    if offset!(rename_dirs_are_dentries) != 0 { kernel::inode_of_dentry(dir) } else { dir }
}
