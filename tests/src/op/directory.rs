//! Changes of a directory's entries.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

use nix::sys::stat::{Mode, SFlag, mknod};
use upcall_common::change::ENTRIES;

use super::Op;

pub const DIRECTORY: &[Op] = &[
    op("dir_create", |dir| File::create_new(dir.join("dir/new")).map(drop)),
    op("dir_mkdir", |dir| fs::create_dir(dir.join("dir/new"))),
    op("dir_rmdir", |dir| fs::remove_dir(dir.join("dir/subdir"))),
    op("dir_symlink", |dir| symlink("present", dir.join("dir/new"))),
    op("dir_mknod", |dir| Ok(mknod(&dir.join("dir/new"), SFlag::S_IFIFO, Mode::S_IRUSR, 0)?)),
    op("dir_unlink", |dir| fs::remove_file(dir.join("dir/present"))),
    op("dir_link", |dir| fs::hard_link(dir.join("other"), dir.join("dir/new"))),
    op("dir_rename_within", |dir| fs::rename(dir.join("dir/present"), dir.join("dir/new"))),
    op("dir_rename_in", |dir| fs::rename(dir.join("other"), dir.join("dir/new"))),
    op("dir_rename_out", |dir| fs::rename(dir.join("dir/present"), dir.join("new"))),
];

const fn op(name: &'static str, run: fn(&Path) -> io::Result<()>) -> Op {
    Op { name, subject: "dir", expected: ENTRIES, run }
}
