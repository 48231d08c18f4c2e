//! What a process may try with a file that others have leases or locks of, by name.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use nix::{
    fcntl::{AT_FDCWD, FcntlArg, fcntl},
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
    unistd::truncate,
};

use crate::sys::{ioctl, open};

const APPEND: i32 = libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC;

/// One attempt. Nothing stays open.
#[derive(Clone, Copy, Debug)]
pub enum Attempt {
    Read,
    /// Adds [`APPENDED`].
    Append,
    /// To [`TRUNCATED`], without opening it.
    Truncate,
    /// To nothing, by opening it for reading.
    OpenTruncate,
    /// As [`Attempt::Append`], opened by an io_uring.
    UringAppend,
    /// As [`Attempt::Append`], opened by its handle.
    HandleAppend,
    Chmod,
    /// To now.
    SetTimes,
    SetFlags,
    Unlink,
    /// In a directory.
    Mkdir,
}

pub const APPENDED: &[u8] = b"appended";
pub const TRUNCATED: i64 = 5;
/// The entry that [`Attempt::Mkdir`] makes.
pub const MADE: &str = "made";

impl Attempt {
    const ALL: [Self; 11] = [
        Self::Read,
        Self::Append,
        Self::Truncate,
        Self::OpenTruncate,
        Self::UringAppend,
        Self::HandleAppend,
        Self::Chmod,
        Self::SetTimes,
        Self::SetFlags,
        Self::Unlink,
        Self::Mkdir,
    ];

    /// The one whose name in debug output this is.
    pub(crate) fn named(name: &str) -> io::Result<Self> {
        let found = Self::ALL.into_iter().find(|attempt| format!("{attempt:?}") == name);
        found.ok_or_else(|| io::Error::other("there is no such attempt"))
    }

    pub fn perform(self, file: &Path) -> io::Result<()> {
        match self {
            Self::Read => fs::read(file).map(drop),
            Self::Append => File::options().append(true).open(file)?.write_all(APPENDED),
            Self::Truncate => Ok(truncate(file, TRUNCATED)?),
            Self::OpenTruncate => File::options().read(true).custom_flags(libc::O_TRUNC).open(file).map(drop),
            Self::UringAppend => open::by_uring(file, APPEND)?.write_all(APPENDED),
            Self::HandleAppend => open::by_handle(file, APPEND)?.write_all(APPENDED),
            Self::Chmod => fs::set_permissions(file, Permissions::from_mode(0o600)),
            Self::SetTimes => {
                let now = TimeSpec::UTIME_NOW;
                Ok(utimensat(AT_FDCWD, file, &now, &now, UtimensatFlags::FollowSymlink)?)
            }
            Self::SetFlags => {
                ioctl::set_attributes(&File::open(file)?, |attributes| attributes.flags |= ioctl::NO_DUMP)
            }
            Self::Unlink => fs::remove_file(file),
            Self::Mkdir => fs::create_dir(file.join(MADE)),
        }
    }
}

/// Locks bytes of a file as `fcntl` lockers do, or unlocks them; without waiting.
pub(crate) fn lock(file: &File, lock: bool, start: i64, length: i64) -> io::Result<()> {
    let kind = if lock { libc::F_WRLCK } else { libc::F_UNLCK };
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        l_pid: 0,
    };
    Ok(fcntl(file, FcntlArg::F_SETLK(&lock)).map(drop)?)
}
