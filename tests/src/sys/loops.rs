//! Loop devices.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use super::checked;

const SET_FD: libc::Ioctl = 0x4c00;
const CLR_FD: libc::Ioctl = 0x4c01;
const GET_FREE: libc::Ioctl = 0x4c82;

/// Somebody else may take the device that was free: so often another one is tried.
const ATTEMPTS: u32 = 16;

/// A block device over a file; detached when dropped.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    device: File,
    path: PathBuf,
}

impl LoopDevice {
    pub(crate) fn attach(file: &File) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS {
            // SAFETY: the request takes nothing.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
            checked(number.into())?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::options().read(true).write(true).open(&path)?;
            // SAFETY: the request takes a descriptor by value.
            let attached = unsafe { libc::ioctl(device.as_raw_fd(), SET_FD, file.as_raw_fd()) };
            match checked(attached.into()) {
                Ok(()) => return Ok(Self { device, path }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // SAFETY: the request takes nothing. There is nobody to tell of a failure.
        let _ = unsafe { libc::ioctl(self.device.as_raw_fd(), CLR_FD) };
    }
}
