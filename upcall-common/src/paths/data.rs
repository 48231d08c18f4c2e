//! Contents and size.

use super::{Gap, MutationPath, path};
use crate::abi::Hook;

pub(super) const PATHS: &[MutationPath] = &[
    path("write", "write", &[Hook::VfsWrite]),
    path("pwrite", "pwrite", &[Hook::VfsWrite]),
    path("writev", "writev", &[Hook::DoIterReadvWritev]),
    path("pwritev2", "pwritev2", &[Hook::DoIterReadvWritev]),
    path("pwritev2, RWF_APPEND", "pwritev2_append", &[Hook::DoIterReadvWritev]),
    path("pwritev2, RWF_DSYNC", "pwritev2_dsync", &[Hook::DoIterReadvWritev]),
    path("write, O_DIRECT", "direct_write", &[Hook::VfsWrite]),
    path("io_uring write, buffered", "io_uring_write", &[Hook::KiocbDone]),
    path("io_uring write, O_DIRECT", "io_uring_direct", &[Hook::IoCompleteRw]),
    path("io_uring write, on a worker (io-wq)", "io_uring_worker", &[Hook::KiocbDone]),
    path("io_uring write, submitted by the kernel (SQPOLL)", "io_uring_sqpoll", &[Hook::KiocbDone]),
    path("Linux AIO write, buffered", "aio_write", &[Hook::AioCompleteRw]),
    path("Linux AIO write, O_DIRECT", "aio_direct", &[Hook::AioCompleteRw]),
    path("splice", "splice", &[Hook::IterFileSpliceWrite]),
    path("sendfile", "sendfile", &[Hook::IterFileSpliceWrite]),
    path("copy_file_range", "copy_file_range", &[Hook::VfsCopyFileRange]),
    path("copy_file_range, between filesystems", "copy_file_range_across", &[Hook::VfsCopyFileRange]),
    path("FICLONE", "reflink", &[Hook::VfsCloneFileRange]),
    path("FICLONERANGE", "reflink_range", &[Hook::VfsCloneFileRange]),
    path("FIDEDUPERANGE", "dedupe", &[Hook::VfsDedupeFileRangeOne])
        .but(&[Gap::timestamp(&["xfs", "btrfs"], "it changes nothing that a reader could see")]),
    path("fallocate", "fallocate", &[Hook::VfsFallocate]),
    path("fallocate, FALLOC_FL_KEEP_SIZE", "fallocate_keep_size", &[Hook::VfsFallocate]),
    path("fallocate, FALLOC_FL_PUNCH_HOLE", "punch_hole", &[Hook::VfsFallocate]),
    path("fallocate, FALLOC_FL_ZERO_RANGE", "zero_range", &[Hook::VfsFallocate]),
    path("fallocate, FALLOC_FL_COLLAPSE_RANGE", "collapse_range", &[Hook::VfsFallocate]),
    path("fallocate, FALLOC_FL_INSERT_RANGE", "insert_range", &[Hook::VfsFallocate]),
    path("truncate", "truncate", &[Hook::NotifyChange]),
    path("ftruncate", "ftruncate", &[Hook::NotifyChange]),
    path("open, O_TRUNC", "open_truncate", &[Hook::NotifyChange]),
    path("mmap: first store to a page", "mapped_store", &[Hook::FaultDirtySharedPage]),
    path("mmap: store after msync", "mapped_store_after_msync", &[Hook::FaultDirtySharedPage]),
    path("mmap: store after write-back", "mapped_store_after_writeback", &[Hook::FaultDirtySharedPage]),
    path(
        "mmap: process_vm_writev into the mapping",
        "mapped_process_vm_writev",
        &[Hook::FaultDirtySharedPage],
    ),
    path("mmap: store to a dirty page, told by and by", "mapped_store_to_dirty", &[Hook::MmapFileEntry]),
    path(
        "loop device: write to the backing file",
        "loop_write",
        &[
            Hook::DoIterReadvWritev,
            Hook::GenericPerformWrite,
            Hook::IomapFileBufferedWrite,
            Hook::FilemapDirtyFolio,
        ],
    ),
    path("EXT4_IOC_MOVE_EXT", "move_extents", &[Hook::MntDropWriteFile])
        .but(&[Gap::timestamp(&[], "it updates no timestamp")]),
    path("XFS_IOC_EXCHANGE_RANGE", "exchange_range", &[Hook::TruncatePagecacheRangeEntry]),
    path("swap file: pages going out", "swap", &[]).but(&[Gap::fexit(&[], SWAP), Gap::timestamp(&[], SWAP)]),
];

const SWAP: &str =
    "the kernel writes the blocks below the filesystem; nobody can read a swap file for its contents";
