//! System calls that no safe function offers: the only unsafe code here.

pub(crate) mod aio;
pub(crate) mod attributes;
pub(crate) mod bpf;
pub(crate) mod evict;
pub(crate) mod ioctl;
pub(crate) mod lease;
pub(crate) mod loops;
pub(crate) mod mapping;
pub(crate) mod missing;
pub(crate) mod open;
pub(crate) mod shared;
pub(crate) mod signalled;
pub(crate) mod swap;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
};

fn checked(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The type and bytes of a file's handle.
pub fn file_handle(path: &Path) -> io::Result<(i32, Vec<u8>)> {
    handle_of(&File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?)
}

pub(crate) fn handle_of(file: &File) -> io::Result<(i32, Vec<u8>)> {
    /// `struct file_handle` with room for the longest handle.
    #[repr(C)]
    struct Raw {
        length: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let fd: RawFd = file.as_raw_fd();
    let mut raw = Raw { length: 128, kind: 0, bytes: [0; 128] };
    let mut mount: libc::c_int = 0;
    // SAFETY: the path is a NUL-terminated literal, `raw` has as many bytes as its length says, and `mount` is
    // an int for the kernel to write.
    let result = unsafe {
        let empty = c"".as_ptr();
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd,
            empty,
            &raw mut raw,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    checked(result)?;
    let bytes = raw.bytes.get(..raw.length as usize).unwrap_or_default();
    Ok((raw.kind, bytes.to_vec()))
}
