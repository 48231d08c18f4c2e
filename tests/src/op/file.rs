//! Changes of a file.

use std::{
    fs::{self, File, Permissions},
    io::{self, IoSlice, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FallocateFlags, RenameFlags, SpliceFFlags, fallocate, renameat2, splice},
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
    unistd::truncate,
};
use upcall_common::change::{DATA, MODE, NLINK, OWNER, RENAME, SIZE, TIMES, XATTR};

use super::Op;
use crate::{aio, sys};

pub const FILE: &[Op] = &[
    op("write", DATA, |dir| open(dir)?.write_all_at(b"written", 0)),
    op("pwrite_append", DATA | SIZE, |dir| {
        let file = open(dir)?;
        file.write_all_at(b"appended", file.metadata()?.len())
    }),
    op("pwritev2", DATA, |dir| sys::pwritev2(&open(dir)?, b"vector", 100)),
    op("writev", DATA, |dir| {
        open(dir)?.write_vectored(&[IoSlice::new(b"two "), IoSlice::new(b"parts")]).map(drop)
    }),
    op("direct_write", DATA, |dir| direct(dir)?.write_all_at(aio::page(b'd').bytes(), 0)),
    op("io_uring_write", DATA, |dir| aio::io_uring_write(&open(dir)?, &[b'u'; 100], false)),
    op("io_uring_worker", DATA, |dir| aio::io_uring_write(&open(dir)?, &[b'w'; 100], true)),
    op("io_uring_direct", DATA, |dir| aio::io_uring_write(&direct(dir)?, aio::page(b'i').bytes(), false)),
    op("aio_write", DATA, |dir| aio::aio_write(&open(dir)?, &[b'a'; 100])),
    op("aio_direct", DATA, |dir| aio::aio_write(&direct(dir)?, aio::page(b'A').bytes())),
    op("splice", DATA, |dir| {
        let (reader, mut writer) = io::pipe()?;
        writer.write_all(b"spliced")?;
        splice(reader, None, open(dir)?, Some(&mut 0), 7, SpliceFFlags::empty())?;
        Ok(())
    }),
    op("sendfile", DATA, |dir| {
        Ok(nix::sys::sendfile::sendfile64(open(dir)?, File::open(dir.join("other"))?, None, 100).map(drop)?)
    }),
    op("reflink", DATA | SIZE, |dir| {
        // Of another length than what it replaces, so that the change shows.
        let other = File::options().read(true).write(true).open(dir.join("other"))?;
        other.set_len(4096)?;
        open(dir)?.set_len(0)?;
        sys::reflink(&other, &open(dir)?)
    }),
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
    op("rename_exchange", RENAME, |dir| {
        let (here, there) = (file(dir), dir.join("other"));
        let flags = RenameFlags::RENAME_EXCHANGE;
        Ok(renameat2(nix::fcntl::AT_FDCWD, &here, nix::fcntl::AT_FDCWD, &there, flags)?)
    }),
    op("rename_over", NLINK, |dir| fs::rename(dir.join("other"), file(dir))),
];

const fn op(name: &'static str, expected: u32, run: fn(&Path) -> io::Result<()>) -> Op {
    Op { name, subject: "file", expected, run }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("file")
}

fn direct(dir: &Path) -> io::Result<File> {
    let opened = File::options().write(true).custom_flags(libc::O_DIRECT).open(file(dir));
    // How open(2) says that a filesystem has no direct I/O: tmpfs before Linux 6.6.
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EOPNOTSUPP),
        _ => error,
    })
}

fn open(dir: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(file(dir))
}
