//! Leases of the kernel's, as a program takes them that knows nothing of upcall.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use super::checked;

// What the C library's headers have and the crate libc lacks on some targets (asm-generic/fcntl.h, linux/fcntl.h).
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;
const F_SETLEASE: libc::c_int = 1024;

/// `struct f_owner_ex`.
#[repr(C)]
struct Owner {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// A write lease, whose break is told to the thread that took it by `SIGIO`. Given back when dropped.
#[derive(Debug)]
pub struct WriteLease {
    file: OwnedFd,
}

impl WriteLease {
    /// `SIGIO` must be blocked in this thread, or ends the process.
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = OwnedFd::from(File::open(path)?);
        // SAFETY: asks for this thread's number.
        let owner = Owner { kind: F_OWNER_TID, pid: unsafe { libc::gettid() } };
        // SAFETY: the record is laid out as `struct f_owner_ex`, which the kernel only reads.
        checked(unsafe { libc::fcntl(file.as_raw_fd(), F_SETOWN_EX, &raw const owner) }.into())?;
        // SAFETY: `F_SETLEASE` takes an int.
        checked(unsafe { libc::fcntl(file.as_raw_fd(), F_SETLEASE, libc::F_WRLCK) }.into())?;
        Ok(Self { file })
    }
}

impl Drop for WriteLease {
    fn drop(&mut self) {
        // Closing the file gives it back where this does not.
        // SAFETY: `F_SETLEASE` takes an int.
        let _ = unsafe { libc::fcntl(self.file.as_raw_fd(), F_SETLEASE, libc::F_UNLCK) };
    }
}
