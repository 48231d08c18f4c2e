//! What each system call changes, as source `timestamp` sees it: the tracepoints say that an inode changed,
//! the number of the current system call says how. A call that is not here, or one that can change several
//! things, counts as unknown: then the change may be anything (OTHER).

use upcall_common::{
    abi::{Op, Syscall},
    change::{ACL, ATIME, DATA, ENTRIES, FLAGS, MODE, NLINK, OWNER, RENAME, SIZE, TIMES, VOLATILE, XATTR},
};

const WRITTEN: u32 = DATA | SIZE | TIMES;

/// Number, operation, changes of a file, changes of a directory.
type Row = (i64, Op, u32, u32);

/// The table for the running architecture. Empty where numbers cannot be read: then all is unknown.
///
/// `ioctl` and `io_uring_enter` are left out on purpose: they can do anything.
#[cfg(target_arch = "x86_64")]
const ROWS: &[Row] = &[
    (libc::SYS_write, Op::Write, WRITTEN, 0),
    (libc::SYS_pwrite64, Op::Write, WRITTEN, 0),
    (libc::SYS_writev, Op::Write, WRITTEN, 0),
    (libc::SYS_pwritev, Op::Write, WRITTEN, 0),
    (libc::SYS_pwritev2, Op::Write, WRITTEN, 0),
    (libc::SYS_open, Op::Create, OPENED, ENTRIES | TIMES),
    (libc::SYS_creat, Op::Create, OPENED, ENTRIES | TIMES),
    (libc::SYS_openat, Op::Create, OPENED, ENTRIES | TIMES),
    (libc::SYS_openat2, Op::Create, OPENED, ENTRIES | TIMES),
    (libc::SYS_truncate, Op::Truncate, WRITTEN, 0),
    (libc::SYS_ftruncate, Op::Truncate, WRITTEN, 0),
    (libc::SYS_fallocate, Op::Fallocate, WRITTEN, 0),
    (libc::SYS_copy_file_range, Op::Copy, WRITTEN, 0),
    (libc::SYS_splice, Op::Splice, WRITTEN, 0),
    (libc::SYS_sendfile, Op::Splice, WRITTEN, 0),
    (libc::SYS_io_submit, Op::Aio, WRITTEN, 0),
    (libc::SYS_process_vm_writev, Op::Mmap, WRITTEN | VOLATILE, 0),
    (libc::SYS_chmod, Op::Chmod, MODE | ACL | TIMES, MODE | ACL | TIMES),
    (libc::SYS_fchmod, Op::Chmod, MODE | ACL | TIMES, MODE | ACL | TIMES),
    (libc::SYS_fchmodat, Op::Chmod, MODE | ACL | TIMES, MODE | ACL | TIMES),
    (SYS_FCHMODAT2, Op::Chmod, MODE | ACL | TIMES, MODE | ACL | TIMES),
    (libc::SYS_chown, Op::Chown, CHOWNED, CHOWNED),
    (libc::SYS_fchown, Op::Chown, CHOWNED, CHOWNED),
    (libc::SYS_lchown, Op::Chown, CHOWNED, CHOWNED),
    (libc::SYS_fchownat, Op::Chown, CHOWNED, CHOWNED),
    (libc::SYS_utime, Op::Utimes, TIMES | ATIME, TIMES | ATIME),
    (libc::SYS_utimes, Op::Utimes, TIMES | ATIME, TIMES | ATIME),
    (libc::SYS_futimesat, Op::Utimes, TIMES | ATIME, TIMES | ATIME),
    (libc::SYS_utimensat, Op::Utimes, TIMES | ATIME, TIMES | ATIME),
    (libc::SYS_setxattr, Op::Setxattr, XATTRED, XATTRED),
    (libc::SYS_lsetxattr, Op::Setxattr, XATTRED, XATTRED),
    (libc::SYS_fsetxattr, Op::Setxattr, XATTRED, XATTRED),
    (libc::SYS_removexattr, Op::Removexattr, XATTRED, XATTRED),
    (libc::SYS_lremovexattr, Op::Removexattr, XATTRED, XATTRED),
    (libc::SYS_fremovexattr, Op::Removexattr, XATTRED, XATTRED),
    (SYS_SETXATTRAT, Op::Setxattr, XATTRED, XATTRED),
    (SYS_REMOVEXATTRAT, Op::Removexattr, XATTRED, XATTRED),
    (SYS_FILE_SETATTR, Op::Ioctl, FLAGS | TIMES, FLAGS | TIMES),
    (libc::SYS_link, Op::Link, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_linkat, Op::Link, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_unlink, Op::Unlink, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_unlinkat, Op::Unlink, NLINK | TIMES, ENTRIES | NLINK | TIMES),
    (libc::SYS_rmdir, Op::Rmdir, NLINK | TIMES, ENTRIES | NLINK | TIMES),
    (libc::SYS_mkdir, Op::Mkdir, NLINK | TIMES, ENTRIES | NLINK | TIMES),
    (libc::SYS_mkdirat, Op::Mkdir, NLINK | TIMES, ENTRIES | NLINK | TIMES),
    (libc::SYS_mknod, Op::Mknod, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_mknodat, Op::Mknod, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_symlink, Op::Symlink, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_symlinkat, Op::Symlink, NLINK | TIMES, ENTRIES | TIMES),
    (libc::SYS_rename, Op::Rename, RENAME | NLINK | TIMES, RENAME | ENTRIES | NLINK | TIMES),
    (libc::SYS_renameat, Op::Rename, RENAME | NLINK | TIMES, RENAME | ENTRIES | NLINK | TIMES),
    (libc::SYS_renameat2, Op::Rename, RENAME | NLINK | TIMES, RENAME | ENTRIES | NLINK | TIMES),
];

#[cfg(not(target_arch = "x86_64"))]
const ROWS: &[Row] = &[];

/// With O_TRUNC; that drops set-id bits and file capabilities too.
const OPENED: u32 = WRITTEN | MODE | XATTR;
/// A change of owner drops set-id bits and file capabilities.
const CHOWNED: u32 = OWNER | MODE | XATTR | TIMES;
/// An ACL is an extended attribute, and setting one may change the mode.
const XATTRED: u32 = XATTR | ACL | MODE | TIMES;

#[cfg(target_arch = "x86_64")]
const SYS_FCHMODAT2: i64 = 452;
#[cfg(target_arch = "x86_64")]
const SYS_SETXATTRAT: i64 = 463;
#[cfg(target_arch = "x86_64")]
const SYS_REMOVEXATTRAT: i64 = 466;
#[cfg(target_arch = "x86_64")]
const SYS_FILE_SETATTR: i64 = 469;

/// Entries to put into the kernel's table: number and meaning.
pub fn table() -> impl Iterator<Item = (u32, Syscall)> {
    ROWS.iter().filter_map(|&(number, op, file, dir)| {
        Some((u32::try_from(number).ok()?, Syscall { file, dir, op: op as u32 }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_number_fits_and_is_named_once() {
        let mut seen = HashSet::new();
        for (number, entry) in table() {
            assert!(number < upcall_common::abi::SYSCALLS, "{number}");
            assert!(seen.insert(number), "{number} twice");
            assert_ne!(entry.file, 0, "{number}");
        }
    }
}
