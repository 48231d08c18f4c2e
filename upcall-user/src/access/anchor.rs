//! Opening inodes by file handle, which the kernel does only through a file of the same filesystem.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use upcall_common::wire::MAX_HANDLE;

use super::AccessError;
use super::inode::{Kind, kind, magic_link};
use crate::sys::handle::{FileHandle, handle_of, open_handle};

/// Opens the file behind an `O_PATH` descriptor for reading, as `open_by_handle_at` wants it.
pub(super) fn open_readable(anchor: BorrowedFd<'_>) -> Result<OwnedFd, AccessError> {
    // Only what has no side effects on being opened.
    let flags = match kind(anchor).map_err(AccessError::internal("look at the anchor of a handle"))? {
        Kind::Directory => OFlag::O_DIRECTORY,
        Kind::Regular => OFlag::O_NONBLOCK | OFlag::O_NOCTTY,
        Kind::Other => {
            return Err(AccessError::BadTarget(
                "the anchor of a handle must be a directory or a regular file".to_owned(),
            ));
        }
    };
    open(&magic_link(anchor), flags | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| AccessError::internal("open the anchor of a handle")(errno.into()))
}

/// Decodes a handle with the daemon's privileges: says nothing about who may read the inode, or where it lies.
pub(super) fn decode(mount: impl AsFd, handle: &FileHandle) -> Result<OwnedFd, AccessError> {
    if handle.bytes.is_empty() || handle.bytes.len() > MAX_HANDLE {
        return Err(AccessError::BadTarget(format!("a handle has 1 to {MAX_HANDLE} bytes")));
    }
    open_handle(mount.as_fd(), handle).map_err(|source| match source.raw_os_error() {
        // What the kernel says where the filesystem has no handles at all, too.
        Some(libc::ESTALE | libc::EINVAL) if handle_of(mount.as_fd()).is_ok_and(|own| own.is_none()) => {
            AccessError::Unsupported("the anchor's filesystem has no file handles; use a path".to_owned())
        }
        Some(libc::ESTALE | libc::EINVAL) => AccessError::StaleHandle(
            "the handle names no inode of the anchor's filesystem: deleted, or of another filesystem"
                .to_owned(),
        ),
        Some(libc::EPERM) => AccessError::NotPermitted(
            "the daemon may not open file handles: it lacks CAP_DAC_READ_SEARCH; run it as root".to_owned(),
        ),
        _ => AccessError::internal("open the file handle")(source),
    })
}
