//! Names: hard links, a directory's entries, renames.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::Path,
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2},
    sys::stat::{Mode, SFlag, mknod},
    unistd::linkat,
};
use upcall_common::change::{ENTRIES, FORGET, NLINK, RENAME};

use super::{Op, Subject, at, file, op, prepared};

const DIR: Subject = at("dir", ENTRIES);
const DIR2: Subject = at("dir2", ENTRIES);

pub(super) const OPS: &[Op] = &[
    op("create", &[DIR], |dir| File::create_new(dir.join("dir/new")).map(drop)),
    op("mkdir", &[DIR], |dir| fs::create_dir(dir.join("dir/new"))),
    op("mknod", &[DIR], |dir| Ok(mknod(&dir.join("dir/new"), SFlag::S_IFIFO, Mode::S_IRUSR, 0)?)),
    op("symlink", &[DIR], |dir| symlink("present", dir.join("dir/new"))),
    op("link", &[file(NLINK)], |dir| fs::hard_link(dir.join("file"), dir.join("dir/new"))),
    op("link_parent", &[DIR], |dir| fs::hard_link(dir.join("file"), dir.join("dir/new"))),
    prepared("link_temporary", &[DIR], |dir| {
        let temporary = File::options().write(true).custom_flags(libc::O_TMPFILE).open(dir.join("dir2"))?;
        let new = dir.join("dir/new");
        Ok(Box::new(move || Ok(linkat(&temporary, "", AT_FDCWD, &new, AtFlags::AT_EMPTY_PATH)?)))
    }),
    op("unlink", &[at("dir/present", NLINK), DIR], |dir| fs::remove_file(dir.join("dir/present"))),
    op("rmdir", &[at("dir/subdir", NLINK), DIR], |dir| fs::remove_dir(dir.join("dir/subdir"))),
    op("rename", &[at("dir/present", RENAME), DIR], |dir| {
        fs::rename(dir.join("dir/present"), dir.join("dir/new"))
    }),
    op("rename_exchange", &[at("dir/present", RENAME), at("other", RENAME)], |dir| {
        rename(dir, "dir/present", "other", RenameFlags::RENAME_EXCHANGE)
    }),
    prepared("rename_exchange_parents", &[DIR, DIR2], |dir| {
        fs::rename(dir.join("other"), dir.join("dir2/other"))?;
        let dir = dir.to_owned();
        Ok(Box::new(move || rename(&dir, "dir/present", "dir2/other", RenameFlags::RENAME_EXCHANGE)))
    }),
    op("rename_whiteout", &[at("dir/present", RENAME), DIR], |dir| {
        rename(dir, "dir/present", "dir/new", RenameFlags::RENAME_WHITEOUT)
    })
    // How rename(2) says that a filesystem does not have it.
    .refused_with(&[libc::EINVAL]),
    op("rename_over", &[at("dir/present", NLINK), at("other", RENAME), DIR], rename_over),
    op("rename_over_last", &[Subject { path: "dir/present", expected: FORGET, ends: true }], rename_over),
    op("rename_across", &[at("dir/present", RENAME), DIR, DIR2], |dir| {
        fs::rename(dir.join("dir/present"), dir.join("dir2/new"))
    }),
    op("rename_directory", &[at("dir/subdir", RENAME), DIR, DIR2], |dir| {
        fs::rename(dir.join("dir/subdir"), dir.join("dir2/new"))
    }),
];

fn rename_over(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join("other"), dir.join("dir/present"))
}

fn rename(dir: &Path, from: &str, to: &str, flags: RenameFlags) -> io::Result<()> {
    Ok(renameat2(AT_FDCWD, &dir.join(from), AT_FDCWD, &dir.join(to), flags)?)
}
