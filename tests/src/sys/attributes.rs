//! Attributes, by system calls too new for any library: the errors say where the kernel has none.

use std::{
    ffi::{CStr, CString},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::checked;

const FCHMODAT2: libc::c_long = 452;
const SETXATTRAT: libc::c_long = 463;
const FILE_SETATTR: libc::c_long = 469;

pub(crate) fn fchmodat2(path: &Path, mode: u32) -> io::Result<()> {
    let path = terminated(path)?;
    // SAFETY: the path is NUL-terminated; the rest is numbers.
    checked(unsafe { libc::syscall(FCHMODAT2, libc::AT_FDCWD, path.as_ptr(), mode, 0) })
}

pub(crate) fn setxattrat(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    /// `struct xattr_args`
    #[repr(C)]
    struct Arguments {
        value: u64,
        size: u32,
        flags: u32,
    }
    let path = terminated(path)?;
    let size = u32::try_from(value.len()).map_err(io::Error::other)?;
    let arguments = Arguments { value: value.as_ptr().expose_provenance() as u64, size, flags: 0 };
    // SAFETY: path and name are NUL-terminated, the arguments are as long as said and describe one slice, which is
    // only read.
    checked(unsafe {
        let size = size_of::<Arguments>();
        libc::syscall(SETXATTRAT, libc::AT_FDCWD, path.as_ptr(), 0, name.as_ptr(), &raw const arguments, size)
    })
}

/// Sets the flags that FS_IOC_FSSETXATTR calls `xflags`, and nothing else.
pub(crate) fn file_setattr(path: &Path, flags: u32) -> io::Result<()> {
    /// `struct file_attr`
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        flags: u64,
        extent_size: u32,
        extents: u32,
        project: u32,
        copy_extent_size: u32,
    }
    let path = terminated(path)?;
    let attributes = Attributes { flags: flags.into(), ..Attributes::default() };
    // SAFETY: the path is NUL-terminated, and the attributes are as long as said.
    checked(unsafe {
        let size = size_of::<Attributes>();
        libc::syscall(FILE_SETATTR, libc::AT_FDCWD, path.as_ptr(), &raw const attributes, size, 0)
    })
}

fn terminated(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
