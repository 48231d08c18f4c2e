//! Changes that come through another mount, filesystem or server.

use super::{Gap, MutationPath, path};
use crate::abi::Hook;

pub(super) const PATHS: &[MutationPath] = &[
    path("through overlayfs, watched there", "overlay_watched", &[Hook::VfsWrite]),
    path("through overlayfs, the upper file watched", "overlay_upper_watched", &[Hook::DoIterReadvWritev]),
    path("through overlayfs, a lower file copied up", "overlay_copied_up", &[Hook::VfsWrite]),
    path("through FUSE passthrough, watched there", "fuse_watched", &[Hook::VfsWrite]).but(&[
        Gap::timestamp(&[], "only when somebody asks for its attributes next: watch the file behind")
            .at_times(),
    ]),
    path(
        "through FUSE passthrough, the file behind watched",
        "fuse_backing_watched",
        &[Hook::DoIterReadvWritev, Hook::VfsIocbIterWrite],
    ),
    path("through a bind mount", "bind_mount", &[Hook::VfsWrite]),
    path("from another mount namespace", "mount_namespace", &[Hook::VfsWrite]),
    path(
        "through the kernel's NFS server, by a client",
        "nfsd_write",
        &[Hook::DoIterReadvWritev, Hook::VfsIocbIterWrite],
    ),
];
