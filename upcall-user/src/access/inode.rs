//! Plain facts of an open file.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::sys::stat::{SFlag, fstat, lstat};

use crate::sys::handle::handle_of;

/// Tells an inode from others while a descriptor of it is open, which keeps its number from being reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Regular,
    Other,
}

pub(super) fn look(file: impl AsFd) -> io::Result<(Kind, Identity)> {
    let stat = fstat(file)?;
    let kind = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFREG => Kind::Regular,
        _ => Kind::Other,
    };
    Ok((kind, Identity { dev: stat.st_dev, ino: stat.st_ino }))
}

pub(super) fn identity(file: impl AsFd) -> io::Result<Identity> {
    look(file).map(|(_, identity)| identity)
}

pub(super) fn kind(file: impl AsFd) -> io::Result<Kind> {
    look(file).map(|(kind, _)| kind)
}

/// Whether two descriptors are of one inode. Handles too: some filesystems give one number to several inodes.
pub(super) fn same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(identity(one)? == identity(other)? && handle_of(one)? == handle_of(other)?)
}

/// The path that opens the very file behind a descriptor.
pub(crate) fn magic_link(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// What the kernel says the path is. Only a claim: the file may have been renamed or deleted, may lie in another
/// mount namespace, or the kernel may not know where it hangs.
pub(super) fn claimed_path(file: BorrowedFd<'_>) -> Option<PathBuf> {
    fs::read_link(magic_link(file)).ok().filter(|path| path.is_absolute())
}

/// The path, if it leads to the file at this moment.
pub(super) fn current_path(file: BorrowedFd<'_>) -> Option<PathBuf> {
    let path = claimed_path(file)?;
    let found = lstat(&path).ok()?;
    let there = Identity { dev: found.st_dev, ino: found.st_ino };
    identity(file).is_ok_and(|here| here == there).then_some(path)
}
