//! Knowing when an inode leaves memory.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd},
    path::Path,
};

use super::checked;

/// A fanotify mark that does not keep the file's inode in memory.
pub(crate) fn evictable_mark(path: &Path) -> io::Result<File> {
    const FAN_MARK_EVICTABLE: libc::c_uint = 0x200;
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: no pointers.
    let group = unsafe { libc::fanotify_init(libc::FAN_CLASS_NOTIF | libc::FAN_CLOEXEC, 0) };
    checked(group.into())?;
    // SAFETY: the descriptor has just been made, and nobody else knows of it.
    let group = unsafe { File::from_raw_fd(group) };
    let flags = libc::FAN_MARK_ADD | FAN_MARK_EVICTABLE;
    // SAFETY: the path is NUL-terminated and lives until the call returns.
    let marked = unsafe {
        libc::fanotify_mark(group.as_raw_fd(), flags, libc::FAN_MODIFY, libc::AT_FDCWD, path.as_ptr())
    };
    checked(marked.into())?;
    Ok(group)
}
