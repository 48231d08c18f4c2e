//! Mode, owner, times, extended attributes and inode flags.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt, chown, lchown},
    thread,
};

use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
    unistd::{Uid, setfsuid},
};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use upcall_common::change::{ACL, DATA, FLAGS, MODE, OWNER, TIMES, XATTR};
use xattr::FileExt as _;

use super::{
    Op, file, op, prepared,
    stage::{self, open},
};
use crate::{
    state::ATTRIBUTE,
    sys::{attributes, ioctl},
};

pub(super) const OPS: &[Op] = &[
    op("chmod", &[file(MODE)], |dir| fs::set_permissions(stage::file(dir), Permissions::from_mode(0o664))),
    op("fchmodat2", &[file(MODE)], |dir| attributes::fchmodat2(&stage::file(dir), 0o664)),
    op("chown", &[file(OWNER)], |dir| chown(stage::file(dir), Some(12345), Some(54321))),
    op("lchown", &[file(OWNER)], |dir| lchown(stage::file(dir), Some(12345), Some(54321))),
    op("utimensat", &[file(TIMES)], |dir| {
        let time = TimeSpec::new(1_000_000_000, 5);
        Ok(utimensat(AT_FDCWD, &stage::file(dir), &time, &time, UtimensatFlags::FollowSymlink)?)
    }),
    op("touch", &[file(TIMES)], |dir| {
        let now = TimeSpec::UTIME_NOW;
        Ok(utimensat(AT_FDCWD, &stage::file(dir), &now, &now, UtimensatFlags::FollowSymlink)?)
    }),
    op("setxattr", &[file(XATTR)], |dir| xattr::set(stage::file(dir), ATTRIBUTE, b"set")),
    prepared("removexattr", &[file(XATTR)], |dir| {
        let file = open(dir)?;
        file.set_xattr(ATTRIBUTE, b"set")?;
        Ok(Box::new(move || file.remove_xattr(ATTRIBUTE)))
    }),
    op("setxattrat", &[file(XATTR)], |dir| attributes::setxattrat(&stage::file(dir), c"user.upcall", b"set")),
    op("file_setattr", &[file(FLAGS)], |dir| attributes::file_setattr(&stage::file(dir), ioctl::NO_DUMP)),
    op("acl_set", &[file(ACL)], |dir| xattr::set(stage::file(dir), ACCESS, &acl())),
    prepared("acl_removed", &[file(ACL)], |dir| {
        let file = open(dir)?;
        file.set_xattr(ACCESS, &acl())?;
        Ok(Box::new(move || file.remove_xattr(ACCESS)))
    }),
    op("set_flags", &[file(FLAGS)], |dir| {
        let file = open(dir)?;
        Ok(ioctl_setflags(&file, ioctl_getflags(&file)? | IFlags::NODUMP)?)
    }),
    op("set_extended_flags", &[file(FLAGS)], |dir| {
        ioctl::set_attributes(&open(dir)?, |attributes| attributes.flags |= ioctl::NO_DUMP)
    }),
    op("set_project", &[file(FLAGS)], |dir| {
        ioctl::set_attributes(&open(dir)?, |attributes| attributes.project = 42)
    }),
    prepared("verity", &[file(FLAGS)], |dir| {
        open(dir)?.sync_all()?;
        // It must not be open for writing.
        let file = File::open(stage::file(dir))?;
        Ok(Box::new(move || ioctl::enable_verity(&file)))
    })
    .unseen_by_readers(),
    prepared("suid_dropped", &[file(MODE | DATA)], |dir| {
        fs::set_permissions(stage::file(dir), Permissions::from_mode(0o4755))?;
        let file = open(dir)?;
        Ok(Box::new(move || write_as_nobody(&file)))
    }),
];

const ACCESS: &str = "system.posix_acl_access";

/// One user beside the owner may read: entries of tag, permissions and id after the version of the format.
fn acl() -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    const ACL: [(u16, u16, u32); 5] =
        [(1, 6, NO_ID), (2, 4, 12345), (4, 4, NO_ID), (0x10, 4, NO_ID), (0x20, 4, NO_ID)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in ACL {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    acl
}

/// On a thread that loses the right to keep set-user-id bits, which is for each thread alone.
fn write_as_nobody(file: &File) -> io::Result<()> {
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            setfsuid(Uid::from_raw(65534));
            file.write_all_at(b"by nobody", 0)
        });
        writer.join().map_err(|_| io::Error::other("the writer has panicked"))?
    })
}
