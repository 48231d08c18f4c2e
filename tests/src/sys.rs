//! System calls that no safe function offers: the only unsafe code here.

use std::{
    ffi::CStr,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    ptr,
};

/// The extended attribute that the tests set.
const ATTRIBUTE: &CStr = c"user.upcall";

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn set_attribute(file: &File, value: &[u8]) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated, and pointer and length are those of one slice.
    checked(unsafe {
        libc::fsetxattr(file.as_raw_fd(), ATTRIBUTE.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })
}

pub(crate) fn remove_attribute(file: &File) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated.
    checked(unsafe { libc::fremovexattr(file.as_raw_fd(), ATTRIBUTE.as_ptr()) })
}

/// `None`: it has none, or the filesystem has no attributes.
pub(crate) fn attribute(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; 64];
    // SAFETY: the name is NUL-terminated, and pointer and length are those of one buffer.
    let length = unsafe {
        libc::fgetxattr(file.as_raw_fd(), ATTRIBUTE.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match usize::try_from(length) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(None),
            error => Err(error),
        },
    }
}

pub(crate) fn pwritev2(file: &File, bytes: &[u8], offset: i64) -> io::Result<()> {
    let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one vector that describes a live slice, which is only read from.
    let written = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const vector, 1, offset, 0) };
    checked(if written < 0 { -1 } else { 0 })
}

/// Appends the first bytes of one file to the other.
pub(crate) fn copy_file_range(from: &File, to: &File, length: usize) -> io::Result<()> {
    let mut at = i64::try_from(to.metadata()?.len()).map_err(io::Error::other)?;
    nix::fcntl::copy_file_range(from, None, to, Some(&mut at), length)?;
    Ok(())
}

/// Makes one file share the other's blocks.
pub(crate) fn reflink(from: &File, to: &File) -> io::Result<()> {
    // SAFETY: FICLONE takes a descriptor by value.
    checked(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) })
}

/// Stores a byte at the start of the file through a shared mapping.
pub(crate) fn store(file: &File, byte: u8) -> io::Result<()> {
    const LENGTH: usize = 4096;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let mapped = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is writable, as long as said, and nobody else in this process knows of it.
    unsafe {
        mapped.cast::<u8>().write_volatile(byte);
        checked(libc::munmap(mapped, LENGTH))
    }
}

/// The type and bytes of a file's handle.
pub fn file_handle(path: &Path) -> io::Result<(i32, Vec<u8>)> {
    /// `struct file_handle` with room for the longest handle.
    #[repr(C)]
    struct Raw {
        length: u32,
        kind: i32,
        bytes: [u8; 128],
    }
    let file = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
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
    checked(if result < 0 { -1 } else { 0 })?;
    let bytes = raw.bytes.get(..raw.length as usize).unwrap_or_default();
    Ok((raw.kind, bytes.to_vec()))
}
