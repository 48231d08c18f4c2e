//! How a client gets at what it keeps: by name, unless it holds it open, and never another inode in its place.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    time::SystemTime,
};

use super::view::View;

/// Tells an inode from others that had, or will have, its name or its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    number: u64,
    directory: bool,
    /// Not every filesystem knows.
    made: Option<SystemTime>,
}

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { number: metadata.ino(), directory: metadata.is_dir(), made: metadata.created().ok() })
    }
}

/// `None`: there is nothing that can be watched.
pub(crate) fn open(path: &Path) -> Option<File> {
    let there = fs::symlink_metadata(path).ok()?.file_type();
    if !there.is_file() && !there.is_dir() {
        return None;
    }
    // What takes its place just now must not make us wait.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    File::options().read(true).custom_flags(flags).open(path).ok()
}

/// What is there, if it is that inode.
pub(crate) fn look(
    held: Option<&File>,
    path: &Path,
    identity: Identity,
    contents_only: bool,
) -> Option<View> {
    match held {
        Some(file) if contents_only => View::contents_of(file, identity.directory).ok(),
        Some(file) => View::of(file).ok(),
        None => {
            let file = open(path)?;
            let same = Identity::of(&file).is_ok_and(|it| it == identity);
            same.then(|| View::of(&file).ok()).flatten()
        }
    }
}
