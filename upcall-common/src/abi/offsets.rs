/// Default of every offset: a load at it is refused by the verifier, so a forgotten one fails at load.
pub const UNSET: u32 = u32::MAX;
/// The running kernel has no such field.
pub const ABSENT: u32 = u32::MAX - 1;

macro_rules! offsets {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Byte offsets of kernel structure fields and the few prototype differences, resolved from the
        /// running kernel's BTF before the programs are loaded.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Offsets { $($(#[$doc])* pub $field: u32,)* }

        impl Offsets {
            pub const UNSET: Self = Self { $($field: UNSET,)* };
            /// Number of fields.
            pub const COUNT: usize = [$(stringify!($field)),*].len();

            /// The fields in order of declaration.
            pub const fn words(&self) -> [u32; Self::COUNT] {
                [$(self.$field),*]
            }

            /// Fields that nobody has set.
            #[cfg(feature = "wire")]
            pub fn unset(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field == UNSET { names.push(stringify!($field)); })*
                names
            }
        }
    };
}

offsets! {
    sb_dev,
    sb_magic,
    /// The size of `struct inode`.
    inode_bytes,
    inode_sb,
    inode_ino,
    inode_generation,
    inode_mode,
    inode_uid,
    inode_gid,
    inode_nlink,
    inode_size,
    inode_mtime_sec,
    inode_mtime_nsec,
    inode_ctime_sec,
    inode_ctime_nsec,
    inode_rwsem_count,
    inode_dio_count,
    inode_writecount,
    inode_mapping,
    inode_state,
    /// Bits of `i_state` that say that the inode is about to go, or gone.
    inode_dying,
    /// `address_space.i_mmap_writable`: shared mappings that may be written to.
    mapping_writable,
    mapping_host,
    /// `i_dentry.first`: the head of the list of aliases.
    inode_aliases,
    dentry_inode,
    dentry_parent,
    dentry_name,
    /// `d_u.d_alias`: where a dentry hangs in its inode's list.
    dentry_alias,
    file_inode,
    file_dentry,
    file_mode,
    file_flags,
    path_dentry,
    /// `backing_file.user_path.dentry` (from 6.5), counted from the `struct file` in it.
    backing_dentry,
    task_files,
    files_fdt,
    fdt_fd,
    fdt_max,
    task_flags,
    /// `io_uring`: set once the task has used one.
    task_io_uring,
    /// `thread_info.status` (x86): says whether the system call is a 32-bit one.
    task_status,
    /// `pt_regs.orig_ax` (x86): the system call's number. Absent elsewhere.
    regs_syscall,
    iattr_valid,
    kiocb_file,
    kiocb_flags,
    /// `io_kiocb.task` (to 6.12).
    uring_task,
    /// `io_kiocb.tctx` (from 6.13) and `io_uring_task.task`.
    uring_tctx,
    tctx_task,
    task_tgid,
    vm_fault_vma,
    vm_fault_flags,
    vma_file,
    vma_flags,
    dio_iocb,
    dio_flags,
    /// `iomap_dio.wait_for_completion`: the submitter waits, and completes the write itself.
    dio_waits,
    /// `btrfs_inode.vfs_inode`, and fields counted from the start of `btrfs_inode`; absent without btrfs.
    btrfs_inode_vfs,
    btrfs_inode_root,
    /// `btrfs_root.root_key.objectid`.
    btrfs_root_id,
    /// `ovl_inode.vfs_inode`, and a field counted from the start of `ovl_inode`; absent without overlayfs.
    ovl_inode_vfs,
    ovl_inode_upper,
    rename_old_dentry,
    rename_new_dentry,
    /// The directories, before and after.
    rename_old_dir,
    rename_new_dir,
    /// 1: `renamedata` names directories by dentry (6.18 on); 0: by inode.
    rename_dirs_are_dentries,
    /// Argument of `vfs_create` that is the dentry.
    create_dentry_arg,
    /// 1: `set_posix_acl` takes a dentry; 0: an inode.
    acl_takes_dentry,
    /// `bpf_trampoline.key`: which function it is of.
    trampoline_key,
    /// 1: `vfs_mkdir` returns a dentry; 0: an int.
    mkdir_returns_dentry,
}
