//! Questions about an open file that the standard library and nix don't ask.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::checked;

/// Whether this thread, with its file-system ids and capabilities, may read the file: `EACCES` if not.
pub fn may_read(file: BorrowedFd<'_>) -> io::Result<()> {
    may(file, libc::R_OK)
}

/// Whether it may write to it; `EROFS` if nobody may.
pub fn may_write(file: BorrowedFd<'_>) -> io::Result<()> {
    may(file, libc::W_OK)
}

/// By raw call: the C library's `faccessat` may fall back to comparing permission bits itself, with other
/// ids and without ACLs.
fn may(file: BorrowedFd<'_>, what: libc::c_int) -> io::Result<()> {
    // SAFETY: the path is a NUL-terminated literal, the kernel only reads it.
    checked(unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            file.as_raw_fd(),
            c"".as_ptr(),
            what,
            libc::AT_EMPTY_PATH | libc::AT_EACCESS,
        )
    })?;
    Ok(())
}

/// The mount through which a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// As in /proc/self/mountinfo.
    pub id: u64,
    /// The file is the root of the mount.
    pub is_root: bool,
}

/// By `statx`.
pub fn mount_of(file: BorrowedFd<'_>) -> io::Result<Mount> {
    let mut answer = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is a NUL-terminated literal and the answer points to room for one `struct statx`.
    checked(libc::c_long::from(unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_MNT_ID,
            answer.as_mut_ptr(),
        )
    }))?;
    // SAFETY: `struct statx` consists of integers, for which the initial zeros are valid too.
    let answer = unsafe { answer.assume_init() };
    if answer.stx_mask & libc::STATX_MNT_ID == 0 {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let root = u64::try_from(libc::STATX_ATTR_MOUNT_ROOT).map_err(io::Error::other)?;
    Ok(Mount { id: answer.stx_mnt_id, is_root: answer.stx_attributes & root != 0 })
}
