//! File handles: names of inodes that survive renames and restarts.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use smallvec::SmallVec;
use upcall_common::wire::MAX_HANDLE;

use super::{checked, checked_fd};

/// What `name_to_handle_at` answers: the same for one inode for as long as the inode lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileHandle {
    pub handle_type: i32,
    pub bytes: HandleBytes,
}

/// Those of most filesystems need no memory of their own.
pub type HandleBytes = SmallVec<[u8; 16]>;

/// `struct file_handle` with room for the longest handle.
#[repr(C)]
struct Raw {
    handle_bytes: u32,
    handle_type: i32,
    bytes: [u8; MAX_HANDLE],
}

/// The handle of an open file. `None` where its filesystem has none.
pub fn handle_of(file: BorrowedFd<'_>) -> io::Result<Option<FileHandle>> {
    Ok(handle_and_mount(file)?.map(|(handle, _)| handle))
}

/// The same, with the id of the mount through which the file was opened.
pub fn handle_and_mount(file: BorrowedFd<'_>) -> io::Result<Option<(FileHandle, u64)>> {
    let mut raw = Raw { handle_bytes: MAX_HANDLE as u32, handle_type: 0, bytes: [0; MAX_HANDLE] };
    let mut mount: i32 = 0;
    // SAFETY: the path is a NUL-terminated literal; `raw` is laid out as `struct file_handle`, with as many
    // bytes behind the header as `handle_bytes` says; `mount` is an int for the kernel to write.
    let result = checked(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_raw_fd(),
            c"".as_ptr(),
            &raw mut raw,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    });
    match result {
        Ok(_) => {}
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EOVERFLOW)) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let bytes = usize::try_from(raw.handle_bytes).ok().and_then(|length| raw.bytes.get(..length));
    let mount = u64::try_from(mount).map_err(io::Error::other)?;
    let handle = |bytes| FileHandle { handle_type: raw.handle_type, bytes: HandleBytes::from_slice(bytes) };
    Ok(bytes.map(|bytes| (handle(bytes), mount)))
}

/// Opens the inode with `O_PATH`. `mount` is any file of the filesystem that is open and not `O_PATH`.
/// Needs `CAP_DAC_READ_SEARCH`. `ESTALE` or `EINVAL`: the handle names nothing there.
pub fn open_handle(mount: BorrowedFd<'_>, handle: &FileHandle) -> io::Result<OwnedFd> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let mut raw = Raw {
        handle_bytes: u32::try_from(handle.bytes.len()).map_err(|_| invalid())?,
        handle_type: handle.handle_type,
        bytes: [0; MAX_HANDLE],
    };
    raw.bytes.get_mut(..handle.bytes.len()).ok_or_else(invalid)?.copy_from_slice(&handle.bytes);
    // SAFETY: `raw` is laid out as `struct file_handle` and holds the `handle_bytes` it announces.
    checked_fd(unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut raw,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use smallvec::smallvec;

    use super::*;
    use crate::sys::file::mount_of;

    #[test]
    fn one_inode_has_one_handle_and_an_oversized_one_is_invalid() {
        let here = File::open(".").unwrap();
        let handle = handle_of(here.as_fd()).unwrap();
        assert_eq!(handle, handle_of(File::open(".").unwrap().as_fd()).unwrap());
        assert_ne!(handle, handle_of(File::open("..").unwrap().as_fd()).unwrap());
        let (_, mount) = handle_and_mount(here.as_fd()).unwrap().unwrap();
        assert_eq!(mount, mount_of(here.as_fd()).unwrap().id);
        let oversized = FileHandle { handle_type: 1, bytes: smallvec![0; MAX_HANDLE + 1] };
        assert_eq!(open_handle(here.as_fd(), &oversized).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn a_filesystem_without_handles_has_none() {
        assert_eq!(handle_of(File::open("/proc/self").unwrap().as_fd()).unwrap(), None);
    }
}
