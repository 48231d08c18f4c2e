//! Who is signalled of what happens to a file, and how.

use std::{fs::File, io, os::fd::AsRawFd};

use super::checked;

/// asm-generic/fcntl.h
const F_SETSIG: libc::c_int = 10;

/// Chooses the signal, and the process; `None`: nobody has chosen one.
pub(crate) fn choose(file: &File, signal: i32, process: Option<i32>) -> io::Result<()> {
    // SAFETY: both take an int.
    unsafe {
        checked(libc::fcntl(file.as_raw_fd(), F_SETSIG, signal).into())?;
        checked(libc::fcntl(file.as_raw_fd(), libc::F_SETOWN, process.unwrap_or(0)).into())
    }
}
