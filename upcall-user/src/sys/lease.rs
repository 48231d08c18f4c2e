//! Leases and delegations by `fcntl`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::{apart, checked};

// What the C library's headers have and the crate libc lacks on some targets (asm-generic/fcntl.h, linux/fcntl.h).
const F_SETLEASE: libc::c_int = 1024;
const F_GETLEASE: libc::c_int = 1025;
const F_GETDELEG: libc::c_int = 1024 + 15;
const F_SETDELEG: libc::c_int = 1024 + 16;

/// `struct delegation` (Linux 6.19).
#[repr(C)]
#[derive(Default)]
struct Delegation {
    flags: u32,
    kind: u16,
    pad: u16,
}

/// What an open file description has, or is to have: the values of `F_RDLCK` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    None,
    Read,
    Write,
}

impl Level {
    const fn raw(self) -> libc::c_int {
        match self {
            Self::None => libc::F_UNLCK,
            Self::Read => libc::F_RDLCK,
            Self::Write => libc::F_WRLCK,
        }
    }

    fn from_raw(raw: libc::c_int) -> io::Result<Self> {
        [Self::None, Self::Read, Self::Write]
            .into_iter()
            .find(|level| level.raw() == raw)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// The two sorts that the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `F_SETLEASE`: broken by open and truncate.
    Lease,
    /// `F_SETDELEG` (Linux 6.19): broken by changes of attributes and names too, and for directories as well.
    Delegation,
}

/// Takes, changes or gives up a lease or delegation.
pub fn set(file: BorrowedFd<'_>, sort: Sort, level: Level) -> io::Result<()> {
    let delegation;
    // SAFETY: `F_SETLEASE` takes an int, `F_SETDELEG` a `struct delegation` that the kernel only reads.
    let result = unsafe {
        match sort {
            Sort::Lease => libc::fcntl(file.as_raw_fd(), F_SETLEASE, level.raw()),
            Sort::Delegation => {
                delegation = Delegation { kind: level.raw() as u16, ..Delegation::default() };
                libc::fcntl(file.as_raw_fd(), F_SETDELEG, &raw const delegation)
            }
        }
    };
    checked(result.into()).map(drop)
}

/// Takes a lease by a description that others have as well.
///
/// The kernel signals breaks to whoever takes a lease, as whoever took it; which signal, anybody chooses who has the
/// description, `SIGKILL` included. So a process of its own takes it, which has ended by then: from then on nobody
/// but a user who could end this process anyway can have it signalled.
pub fn set_shared(file: BorrowedFd<'_>, level: Level) -> io::Result<()> {
    let taken = apart::fcntl(file, F_SETLEASE, level.raw());
    if taken.is_err() {
        // It may have been there before the process was ended by such a signal.
        let _ = set(file, Sort::Lease, Level::None);
    }
    taken
}

/// What the description has, or, while that is being broken, what it may keep.
pub fn get(file: BorrowedFd<'_>, sort: Sort) -> io::Result<Level> {
    let mut delegation = Delegation::default();
    // SAFETY: `F_GETLEASE` takes nothing, `F_GETDELEG` a `struct delegation` to write to.
    let raw = checked(libc::c_long::from(unsafe {
        match sort {
            Sort::Lease => libc::fcntl(file.as_raw_fd(), F_GETLEASE),
            Sort::Delegation => libc::fcntl(file.as_raw_fd(), F_GETDELEG, &raw mut delegation),
        }
    }))?;
    match sort {
        Sort::Lease => Level::from_raw(libc::c_int::try_from(raw).map_err(io::Error::other)?),
        Sort::Delegation => Level::from_raw(delegation.kind.into()),
    }
}
