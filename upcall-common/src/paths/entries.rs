//! Names: hard links, a directory's entries, renames.

use super::{Gap, MutationPath, path};
use crate::abi::Hook;

pub(super) const PATHS: &[MutationPath] = &[
    path("open, O_CREAT", "create", &[Hook::DoDentryOpen]),
    path("mkdir", "mkdir", &[Hook::VfsMkdir]),
    path("mknod", "mknod", &[Hook::VfsMknod]),
    path("symlink", "symlink", &[Hook::VfsSymlink]),
    path("link: the file", "link", &[Hook::VfsLink]),
    path("link: the directory", "link_parent", &[Hook::VfsLink]),
    path("linkat of an O_TMPFILE", "link_temporary", &[Hook::VfsLink]),
    path("unlink", "unlink", &[Hook::VfsUnlink]),
    path("rmdir", "rmdir", &[Hook::VfsRmdir]),
    path("rename", "rename", &[Hook::VfsRename]),
    path("rename, RENAME_EXCHANGE: the two files", "rename_exchange", &[Hook::VfsRename])
        .but(&[Gap::timestamp(&["xfs"], "XFS updates the times of the directories alone: watch those")]),
    path("rename, RENAME_EXCHANGE: their directories", "rename_exchange_parents", &[Hook::VfsRename]),
    path("rename, RENAME_WHITEOUT", "rename_whiteout", &[Hook::VfsRename]),
    path("rename over a file", "rename_over", &[Hook::VfsRename]),
    path("rename over a file's last link (FORGET)", "rename_over_last", &[Hook::Evict]),
    path("rename to another directory", "rename_across", &[Hook::VfsRename]),
    path("rename of a directory to another one", "rename_directory", &[Hook::VfsRename]),
];
