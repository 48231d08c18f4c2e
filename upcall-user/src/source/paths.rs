//! The ways an inode changes, and what of each source sees each: the table that `upcall doctor` prints.

use upcall_common::abi::Hook;

/// One way to change an inode.
#[derive(Clone, Copy, Debug)]
pub struct MutationPath {
    pub name: &'static str,
    /// Any of these sees it. Empty: nothing in this source does.
    pub fexit: &'static [Hook],
    /// Why source `timestamp` does not see it; `None`: it does.
    pub timestamp_gap: Option<&'static str>,
}

const fn seen_by(name: &'static str, fexit: &'static [Hook]) -> MutationPath {
    MutationPath { name, fexit, timestamp_gap: None }
}

pub const PATHS: &[MutationPath] = &[
    seen_by("write, pwrite", &[Hook::VfsWrite]),
    seen_by("writev, pwritev2", &[Hook::DoIterReadvWritev]),
    seen_by("io_uring write", &[Hook::KiocbDone]),
    seen_by("io_uring write, completed later", &[Hook::IoCompleteRw]),
    seen_by("Linux AIO write", &[Hook::AioCompleteRw]),
    seen_by("splice, sendfile to a file", &[Hook::IterFileSpliceWrite]),
    seen_by("copy_file_range", &[Hook::VfsCopyFileRange]),
    seen_by("FICLONE, FICLONERANGE", &[Hook::VfsCloneFileRange]),
    seen_by("FIDEDUPERANGE", &[Hook::VfsDedupeFileRangeOne]),
    seen_by("fallocate (allocate, punch, zero, collapse, insert)", &[Hook::VfsFallocate]),
    seen_by("truncate, ftruncate, O_TRUNC", &[Hook::NotifyChange]),
    seen_by("mmap: first store to a clean page", &[Hook::FaultDirtySharedPage]),
    MutationPath {
        name: "mmap: store to a dirty page, seen at msync or fsync",
        fexit: &[Hook::VfsFsyncRange],
        timestamp_gap: Some("the kernel updates timestamps at the first store to a clean page only"),
    },
    MutationPath {
        name: "mmap: store to a dirty page, before msync",
        fexit: &[],
        timestamp_gap: Some("the kernel updates timestamps at the first store to a clean page only"),
    },
    seen_by("chmod, fchmodat2", &[Hook::NotifyChange]),
    seen_by("chown, lchown", &[Hook::NotifyChange]),
    seen_by("utimensat", &[Hook::NotifyChange]),
    seen_by("setxattr", &[Hook::VfsSetxattrNoperm]),
    seen_by("removexattr", &[Hook::VfsRemovexattrLocked]),
    seen_by("POSIX ACL set, removed", &[Hook::SetPosixAcl]),
    seen_by("FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR", &[Hook::VfsFileattrSet]),
    seen_by("create by open", &[Hook::DoDentryOpen]),
    seen_by("mknod", &[Hook::VfsMknod]),
    seen_by("mkdir", &[Hook::VfsMkdir]),
    seen_by("symlink", &[Hook::VfsSymlink]),
    seen_by("link", &[Hook::VfsLink]),
    seen_by("unlink", &[Hook::VfsUnlink]),
    seen_by("rmdir", &[Hook::VfsRmdir]),
    seen_by("rename (child, target, both parents)", &[Hook::VfsRename]),
    seen_by("last link and last user gone (FORGET)", &[Hook::Evict]),
];
