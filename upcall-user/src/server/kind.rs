//! What a file is, and whether to open it may have to wait.

use std::os::fd::BorrowedFd;

use nix::sys::{
    stat::{SFlag, fstat, major},
    statfs::{BTRFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, fstatfs},
};

pub(super) struct Kind {
    pub(super) is_directory: bool,
    /// Nobody serves its filesystem who may never answer.
    pub(super) is_local: bool,
}

/// Without a block device of their own, and yet of this host. All others of that sort are taken for served by somebody.
const LOCAL: [FsType; 6] = [TMPFS_MAGIC, BTRFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, RAMFS, BCACHEFS, ZFS];
// linux/magic.h, and those filesystems' own headers
const RAMFS: FsType = FsType(0x8584_58f6);
const BCACHEFS: FsType = FsType(0xca45_1a4e);
const ZFS: FsType = FsType(0x2fc1_2fc1);

impl Kind {
    pub(super) fn of(file: BorrowedFd<'_>) -> nix::Result<Self> {
        let (stat, filesystem) = (fstat(file)?, fstatfs(file)?.filesystem_type());
        let is_directory = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
        // FUSE may have a block device, too.
        let on_device = major(stat.st_dev) != 0 && filesystem != FUSE_SUPER_MAGIC;
        Ok(Self { is_directory, is_local: on_device || LOCAL.contains(&filesystem) })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;

    fn kind(path: &str) -> Kind {
        Kind::of(File::open(path).expect("a file").as_fd()).expect("looked at")
    }

    #[test]
    fn what_is_not_known_to_be_local_is_not() {
        // They have no device either, as those of the network.
        assert!(!kind("/proc/self/status").is_local && !kind("/sys/kernel").is_local);
        assert!(kind("/dev/shm").is_local, "tmpfs");
        let here = kind(env!("CARGO_MANIFEST_DIR"));
        assert!(here.is_local && here.is_directory);
    }
}
