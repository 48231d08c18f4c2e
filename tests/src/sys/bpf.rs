//! BPF programs in the kernel.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// Whether the kernel has one of these programs.
pub(crate) fn any_loaded(ids: &BTreeSet<u32>) -> io::Result<bool> {
    for id in ids {
        if is_loaded(*id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_loaded(id: u32) -> io::Result<bool> {
    /// The part of `union bpf_attr` that the command reads.
    #[repr(C)]
    struct Ask {
        id: u32,
        next: u32,
        flags: u32,
    }
    const PROG_GET_FD_BY_ID: libc::c_int = 13;
    let mut ask = Ask { id, next: 0, flags: 0 };
    // SAFETY: the structure is the command's, as long as it says.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_FD_BY_ID, &raw mut ask, size_of::<Ask>()) };
    match super::checked(fd) {
        Ok(()) => {
            // SAFETY: the kernel has just made the descriptor, for nobody else.
            drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) });
            Ok(true)
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
