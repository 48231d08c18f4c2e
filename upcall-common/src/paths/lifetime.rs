//! The end of an inode, and its absence from the kernel's cache.

use super::{MutationPath, path};
use crate::abi::Hook;

pub(super) const PATHS: &[MutationPath] = &[
    path("last link removed, file still open", "unlink_while_open", &[Hook::VfsUnlink]),
    path("last link and last user gone", "final_close", &[Hook::Evict]),
    path("change after eviction from the cache", "eviction_and_reload", &[Hook::VfsWrite]),
    path("inode number reused", "number_reused", &[Hook::Evict]),
    path("unmount", "unmount", &[Hook::Evict]),
];
