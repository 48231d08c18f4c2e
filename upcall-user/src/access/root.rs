//! The root of an export, while it is open, and what it is known by while it is not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statvfs::fstatvfs;

use super::inode::{Identity, identity};
use crate::sys::file::{Mount, mount_of};
use crate::sys::handle::{FileHandle, handle_of};

/// Tells the root from every other directory that its path may lead to, also when its filesystem has been
/// unmounted and mounted again meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lasting {
    filesystem: Filesystem,
    ino: u64,
    handle: Option<FileHandle>,
}

#[derive(Debug, PartialEq, Eq)]
enum Filesystem {
    /// Its own id, which it keeps when it is mounted again (tmpfs: each has another).
    Id(u64),
    /// It has none: the device number must do.
    Device(u64),
}

/// An `O_PATH` descriptor. While it is open, the filesystem cannot be unmounted: not to be kept.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    pub(super) identity: Identity,
    pub(super) mount: Mount,
}

/// What became of an export's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Availability {
    Available,
    /// It was the root of a mount, and none is there now.
    Unmounted,
    /// Its path leads nowhere.
    Missing,
    /// Its path leads to something else.
    Replaced,
}

/// Why a root could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoot {
    Unavailable(Availability),
    /// Such as `EACCES`: says nothing about the export.
    Errno(Errno),
}

impl From<io::Error> for NoRoot {
    fn from(error: io::Error) -> Self {
        Self::Errno(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

impl Root {
    /// What is at the path now, without following symlinks.
    pub(super) fn open(path: &Path) -> Result<Self, NoRoot> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let fd = openat2(AT_FDCWD, path, how).map_err(|errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => NoRoot::Unavailable(Availability::Missing),
            other => NoRoot::Errno(other),
        })?;
        let (identity, mount) = (identity(&fd)?, mount_of(fd.as_fd())?);
        Ok(Self { fd, identity, mount })
    }

    pub(super) fn lasting(&self) -> io::Result<Lasting> {
        let filesystem = match fstatvfs(&self.fd)?.filesystem_id() {
            0 => Filesystem::Device(self.identity.dev),
            id => Filesystem::Id(id),
        };
        Ok(Lasting { filesystem, ino: self.identity.ino, handle: handle_of(self.fd.as_fd())? })
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Availability {
    pub(super) const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::Available,
            1 => Self::Unmounted,
            2 => Self::Missing,
            _ => Self::Replaced,
        }
    }

    /// For the operator; `None` while it is available.
    pub fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Available => None,
            Self::Unmounted => Some("its filesystem is not mounted: mount it again"),
            Self::Missing => Some("nothing is at its path: put it back"),
            Self::Replaced => Some(
                "another directory or filesystem is at its path than when the daemon started: put it back, or restart the daemon to export what is there now",
            ),
        }
    }
}
