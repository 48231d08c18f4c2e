//! What `upcall debug` calls each operation.

use upcall_common::paths::Source;

/// Its event, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub op: &'static str,
    /// The process that asked for it, or the kernel's own threads on behalf of a device.
    pub by_asker: bool,
    /// Whether there is one event for each inode, or at least one.
    pub once: bool,
}

/// `None`: no event. A source that knows of the system call alone cannot name what an ioctl or a request of
/// io_uring does.
pub(super) fn shown(test: &str, source: Source, filesystem: &str) -> Option<Shown> {
    let timestamp = source == Source::Timestamp;
    let op = match test {
        // No tracepoint fires, and no hook is called: only the daemon looks.
        "swap" | "mapped_store_to_dirty" => return None,
        // There stores are not tracked, and msync changes nothing.
        "mapped_store_after_msync" | "mapped_store_after_writeback" if filesystem == "tmpfs" => return None,
        // The times change when somebody asks the FUSE server for them.
        "fuse_watched" if timestamp => return None,
        "loop_write" | "nfsd_write" => {
            let op = if timestamp { "unknown" } else { "write" };
            return Some(Shown { op, by_asker: false, once: is_once(op, timestamp, filesystem) });
        }
        "write"
        | "pwrite"
        | "writev"
        | "pwritev2"
        | "pwritev2_append"
        | "pwritev2_dsync"
        | "direct_write"
        | "suid_dropped"
        | "overlay_watched"
        | "overlay_upper_watched"
        | "overlay_copied_up"
        | "fuse_watched"
        | "fuse_backing_watched"
        | "bind_mount"
        | "mount_namespace" => "write",
        "io_uring_write" | "io_uring_direct" | "io_uring_worker" | "io_uring_sqpoll" if timestamp => {
            "unknown"
        }
        "io_uring_write" | "io_uring_direct" | "io_uring_worker" | "io_uring_sqpoll" => "io_uring",
        "aio_write" | "aio_direct" => "aio",
        "splice" | "sendfile" => "splice",
        "copy_file_range" | "copy_file_range_across" => "copy",
        "reflink" | "reflink_range" | "dedupe" | "move_extents" | "exchange_range" | "set_flags"
        | "set_extended_flags" | "set_project" | "verity"
            if timestamp =>
        {
            "unknown"
        }
        "reflink" | "reflink_range" => "clone",
        "dedupe" => "dedupe",
        "move_extents" | "exchange_range" | "set_flags" | "set_extended_flags" | "set_project" | "verity"
        | "file_setattr" => "ioctl",
        "fallocate"
        | "fallocate_keep_size"
        | "punch_hole"
        | "zero_range"
        | "collapse_range"
        | "insert_range" => "fallocate",
        "truncate" | "ftruncate" | "open_truncate" => "truncate",
        "mapped_store"
        | "mapped_store_after_msync"
        | "mapped_store_after_writeback"
        | "mapped_process_vm_writev" => "mmap",
        "chmod" | "fchmodat2" => "chmod",
        "chown" | "lchown" => "chown",
        "utimensat" | "touch" => "utimes",
        "setxattr" | "setxattrat" => "setxattr",
        "removexattr" => "removexattr",
        "acl_set" if timestamp => "setxattr",
        "acl_removed" if timestamp => "removexattr",
        "acl_set" | "acl_removed" => "acl",
        "create" => "create",
        "mkdir" => "mkdir",
        "mknod" => "mknod",
        "symlink" => "symlink",
        "link" | "link_parent" | "link_temporary" => "link",
        "unlink" => "unlink",
        "rmdir" => "rmdir",
        renamed if renamed.starts_with("rename") => "rename",
        _ => return None,
    };
    Some(Shown { op, by_asker: true, once: is_once(op, timestamp, filesystem) })
}

/// Some stamp an inode twice, an overlay copies the times from below more than once: when that takes long, nobody knows
/// that it is one operation. README, Limits.
fn is_once(op: &str, timestamp: bool, filesystem: &str) -> bool {
    !timestamp || op != "fallocate" && filesystem != "overlayfs"
}

#[cfg(test)]
mod tests {
    use super::*;
    use upcall_common::abi::Op;

    #[test]
    fn every_operation_but_a_few_is_shown_by_a_name_that_there_is() {
        for (source, known) in [
            (Source::Fexit, &["mapped_store_to_dirty", "swap"][..]),
            (Source::Timestamp, &["fuse_watched", "mapped_store_to_dirty", "swap"]),
        ] {
            let mut silent = Vec::new();
            for op in super::super::all() {
                match shown(op.name, source, "ext4") {
                    Some(Shown { op: name, .. }) => {
                        assert!(Op::ALL.iter().any(|known| known.name() == name), "{name}");
                    }
                    None => silent.push(op.name),
                }
            }
            silent.sort_unstable();
            assert_eq!(silent, known);
        }
    }
}
