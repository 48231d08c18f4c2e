//! Mode, owner, times, extended attributes and inode flags.

use super::{Gap, MutationPath, path};
use crate::abi::Hook;

pub(super) const PATHS: &[MutationPath] = &[
    path("chmod", "chmod", &[Hook::NotifyChange]),
    path("fchmodat2", "fchmodat2", &[Hook::NotifyChange]),
    path("chown", "chown", &[Hook::NotifyChange]),
    path("lchown", "lchown", &[Hook::NotifyChange]),
    path("utimensat", "utimensat", &[Hook::NotifyChange]),
    path("utimensat, now (touch)", "touch", &[Hook::NotifyChange]),
    path("setxattr", "setxattr", &[Hook::VfsSetxattrNoperm]),
    path("removexattr", "removexattr", &[Hook::VfsRemovexattrLocked]),
    path("setxattrat", "setxattrat", &[Hook::VfsSetxattrNoperm]),
    path("file_setattr", "file_setattr", &[Hook::VfsFileattrSet]),
    path("POSIX ACL set", "acl_set", &[Hook::SetPosixAcl]),
    path("POSIX ACL removed", "acl_removed", &[Hook::SetPosixAcl]),
    path("FS_IOC_SETFLAGS (chattr)", "set_flags", &[Hook::VfsFileattrSet]),
    path("FS_IOC_FSSETXATTR: flags", "set_extended_flags", &[Hook::VfsFileattrSet]),
    path("FS_IOC_FSSETXATTR: project id", "set_project", &[Hook::VfsFileattrSet]),
    path("fs-verity enabled", "verity", &[Hook::FsverityIoctlEnable, Hook::MntDropWriteFile])
        .but(&[Gap::timestamp(&["ext4"], "ext4 updates no timestamp, and the contents stay as they are")]),
    path("set-user-id bit dropped by a write", "suid_dropped", &[Hook::NotifyChange]),
];
