//! What an operation finds, and how it opens it.

use std::{
    fs::File,
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::scene::Scene;

/// Makes `file`, its `neighbour`, `other`, `dir` with some entries, and an empty `dir2`.
pub fn set(scene: &Scene) -> Result<()> {
    for name in ["file", "neighbour", "other"] {
        scene.file(name)?;
    }
    scene.dir("dir")?;
    scene.file("dir/present")?;
    scene.dir("dir/subdir")?;
    scene.dir("dir2")?;
    Ok(())
}

pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("file")
}

pub(super) fn other(dir: &Path) -> PathBuf {
    dir.join("other")
}

pub(super) fn open(dir: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(file(dir))
}

/// `file`, past the page cache.
pub(super) fn open_direct(dir: &Path) -> io::Result<File> {
    let opened = File::options().write(true).custom_flags(libc::O_DIRECT).open(file(dir));
    // How open(2) says that a filesystem has no direct I/O: tmpfs before Linux 6.6.
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EOPNOTSUPP),
        _ => error,
    })
}

/// `other`, to read from. What was written to it is on the disk, where it can be shared.
pub(super) fn donor(dir: &Path) -> io::Result<File> {
    let donor = File::options().read(true).write(true).open(other(dir))?;
    donor.sync_all()?;
    Ok(donor)
}
