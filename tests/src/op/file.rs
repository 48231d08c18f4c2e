//! Changes of a file.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{FileExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
    unistd::truncate,
};
use upcall_common::change::{DATA, MODE, NLINK, OWNER, RENAME, SIZE, TIMES, XATTR};

use super::Op;
use crate::sys;

pub const FILE: &[Op] = &[
    op("write", DATA, |dir| open(dir)?.write_all_at(b"written", 0)),
    op("pwrite_append", DATA | SIZE, |dir| {
        let file = open(dir)?;
        file.write_all_at(b"appended", file.metadata()?.len())
    }),
    op("pwritev2", DATA, |dir| sys::pwritev2(&open(dir)?, b"vector", 100)),
    op("open_truncate", DATA | SIZE, |dir| File::create(file(dir)).map(drop)),
    op("truncate", DATA | SIZE, |dir| Ok(truncate(&file(dir), 100)?)),
    op("ftruncate", DATA | SIZE, |dir| open(dir)?.set_len(20_000)),
    op("fallocate", SIZE, |dir| Ok(fallocate(open(dir)?, FallocateFlags::empty(), 0, 40_000)?)),
    op("punch_hole", DATA, |dir| {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        Ok(fallocate(open(dir)?, flags, 0, 4096)?)
    }),
    op("copy_file_range", DATA, |dir| {
        sys::copy_file_range(&File::open(dir.join("other"))?, &open(dir)?, 4096)
    }),
    op("mmap_store", DATA, |dir| sys::store(&open(dir)?, b'm')),
    op("chmod", MODE, |dir| fs::set_permissions(file(dir), Permissions::from_mode(0o664))),
    op("chown", OWNER, |dir| chown(file(dir), Some(12345), Some(54321))),
    op("utimensat", TIMES, |dir| {
        let time = TimeSpec::new(1_000_000_000, 5);
        Ok(utimensat(nix::fcntl::AT_FDCWD, &file(dir), &time, &time, UtimensatFlags::FollowSymlink)?)
    }),
    op("setxattr", XATTR, |dir| sys::set_attribute(&open(dir)?, b"set")),
    op("removexattr", XATTR, |dir| {
        let file = open(dir)?;
        sys::set_attribute(&file, b"set")?;
        sys::remove_attribute(&file)
    }),
    op("link", NLINK, |dir| fs::hard_link(file(dir), dir.join("linked"))),
    op("unlink", NLINK, |dir| fs::remove_file(file(dir))),
    op("rename", RENAME, |dir| fs::rename(file(dir), dir.join("renamed"))),
    op("rename_over", NLINK, |dir| fs::rename(dir.join("other"), file(dir))),
];

const fn op(name: &'static str, expected: u32, run: fn(&Path) -> io::Result<()>) -> Op {
    Op { name, subject: "file", expected, run }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("file")
}

fn open(dir: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(file(dir))
}
