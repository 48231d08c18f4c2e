/// Bytes of path in an [`Event`].
pub const EVENT_PATH: usize = 1024;
/// Bytes of an [`Event`] before the path.
const EVENT_HEAD: usize = 80;
/// Longest file name with its terminator: one piece of the path.
pub const PATH_PIECE: usize = 256;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident : $($variant:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($variant),* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            pub fn from_raw(raw: u16) -> Option<Self> {
                Self::ALL.get(usize::from(raw)).copied()
            }
        }
    };
}

named! {
    /// What the process did, as `upcall debug` names it.
    Op:
    Unknown = "unknown",
    Write = "write",
    Truncate = "truncate",
    Chmod = "chmod",
    Chown = "chown",
    Utimes = "utimes",
    Setattr = "setattr",
    Setxattr = "setxattr",
    Removexattr = "removexattr",
    Acl = "acl",
    Link = "link",
    Unlink = "unlink",
    Rmdir = "rmdir",
    Mkdir = "mkdir",
    Create = "create",
    Mknod = "mknod",
    Symlink = "symlink",
    Rename = "rename",
    Fallocate = "fallocate",
    Copy = "copy",
    Clone = "clone",
    Dedupe = "dedupe",
    Splice = "splice",
    Uring = "io_uring",
    Aio = "aio",
    Mmap = "mmap",
    Ioctl = "ioctl",
    Fsync = "fsync",
    Evict = "evict",
}

named! {
    /// Where a change was seen, and the BPF program's name: that of the kernel function or tracepoint, some with
    /// `_entry` where the program runs before the function.
    Hook:
    CtimeNsXchg = "ctime_ns_xchg",
    CtimeXchgSkip = "ctime_xchg_skip",
    InodeSetCtimeToTs = "inode_set_ctime_to_ts",
    VfsWrite = "vfs_write",
    DoIterReadvWritev = "do_iter_readv_writev",
    VfsIocbIterWrite = "vfs_iocb_iter_write",
    KernelWriteIter = "__kernel_write_iter",
    KiocbDone = "kiocb_done",
    IoCompleteRw = "io_complete_rw",
    IoCompleteRwIopoll = "io_complete_rw_iopoll",
    AioWriteEntry = "aio_write_entry",
    AioCompleteRw = "aio_complete_rw",
    IterFileSpliceWrite = "iter_file_splice_write",
    VfsCopyFileRange = "vfs_copy_file_range",
    VfsCloneFileRange = "vfs_clone_file_range",
    VfsDedupeFileRangeOne = "vfs_dedupe_file_range_one",
    VfsFallocate = "vfs_fallocate",
    NotifyChange = "notify_change",
    VfsSetxattrNoperm = "__vfs_setxattr_noperm",
    VfsRemovexattrLocked = "__vfs_removexattr_locked",
    SetPosixAcl = "set_posix_acl",
    VfsFileattrSet = "vfs_fileattr_set",
    FsverityIoctlEnable = "fsverity_ioctl_enable",
    FileIoctlEntry = "security_file_ioctl_entry",
    MntDropWriteFile = "mnt_drop_write_file",
    TruncatePagecacheRangeEntry = "truncate_pagecache_range_entry",
    InodeDioWaitEntry = "inode_dio_wait_entry",
    GenericPerformWrite = "generic_perform_write",
    IomapFileBufferedWrite = "iomap_file_buffered_write",
    IomapDioCompleteEntry = "iomap_dio_complete_entry",
    IomapDioComplete = "iomap_dio_complete",
    DaxIomapRw = "dax_iomap_rw",
    FilemapDirtyFolio = "filemap_dirty_folio",
    VfsCreate = "vfs_create",
    VfsMknod = "vfs_mknod",
    VfsSymlink = "vfs_symlink",
    VfsMkdir = "vfs_mkdir",
    VfsLink = "vfs_link",
    VfsUnlinkEntry = "vfs_unlink_entry",
    VfsUnlink = "vfs_unlink",
    VfsRmdirEntry = "vfs_rmdir_entry",
    VfsRmdir = "vfs_rmdir",
    VfsRename = "vfs_rename",
    DoDentryOpen = "do_dentry_open",
    FaultDirtySharedPage = "fault_dirty_shared_page",
    DaxIomapFault = "dax_iomap_fault",
    MmapFileEntry = "security_mmap_file_entry",
    FileMprotectEntry = "security_file_mprotect_entry",
    VfsFsyncRange = "vfs_fsync_range",
    Evict = "evict",
    BpfTrampolineLinkProg = "bpf_trampoline_link_prog",
    BpfTrampolineUnlinkProg = "bpf_trampoline_unlink_prog",
}

/// One change, for `upcall debug`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub time: u64,
    pub ino: u64,
    /// Bytes written, or the attribute bits of a setattr; 0 where there is no such thing.
    pub amount: u64,
    pub dev: u32,
    pub subvolume: u32,
    /// Of the originator; 0: unknown.
    pub tgid: u32,
    /// 0: the originator is not the current task, so `uid` and `comm` are not its own.
    pub tid: u32,
    pub uid: u32,
    /// Change bits.
    pub changes: u32,
    /// An [`Op`].
    pub op: u16,
    /// A [`Hook`].
    pub hook: u16,
    pub comm: [u8; 16],
    /// Bytes used in `path`.
    pub path_len: u32,
    /// 1: the path reaches the filesystem's root; 0: it was cut.
    pub path_whole: u32,
    pub pad: u32,
    /// Names from the leaf upwards, each ended by a NUL.
    pub path: [u8; EVENT_PATH],
}

const _: () = assert!(size_of::<Event>() == EVENT_HEAD + EVENT_PATH);
