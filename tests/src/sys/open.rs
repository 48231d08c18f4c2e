//! Other ways to open a file than `open`.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use io_uring::{IoUring, opcode, types};

use super::file_handle;

/// Opens it by an io_uring, and waits for the completion.
pub(crate) fn by_uring(path: &Path, flags: i32) -> io::Result<File> {
    let mut ring = IoUring::new(2)?;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr()).flags(flags).build();
    // SAFETY: the path lives until the completion has been waited for, below.
    unsafe { ring.submission().push(&open) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?.result();
    opened(result)
}

/// Opens it by its handle, below the directory that it is in.
pub(crate) fn by_handle(path: &Path, flags: i32) -> io::Result<File> {
    /// `struct file_handle` with room for the longest handle.
    #[repr(C)]
    struct Raw {
        length: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let (kind, bytes) = file_handle(path)?;
    let mut raw =
        Raw { length: u32::try_from(bytes.len()).map_err(io::Error::other)?, kind, bytes: [0; 128] };
    raw.bytes
        .get_mut(..bytes.len())
        .ok_or_else(|| io::Error::other("a long handle"))?
        .copy_from_slice(&bytes);
    let mount = File::open(path.parent().unwrap_or(path))?;
    // SAFETY: the descriptor is open, and `raw` has as many bytes as its length says.
    let result =
        unsafe { libc::syscall(libc::SYS_open_by_handle_at, mount.as_raw_fd(), &raw mut raw, flags) };
    super::checked(result)?;
    opened(RawFd::try_from(result).map_err(io::Error::other)?)
}

/// What the kernel has returned: a new descriptor, or an error number below zero.
fn opened(result: RawFd) -> io::Result<File> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(result) })
}
