//! The kernel's means to hold local processes to what clients have been granted.
//!
//! - [`Leases`]: `F_SETLEASE`, and `F_SETDELEG` where the kernel has it. A local process that opens or truncates the
//!   file waits until the lease is given back, or for `fs.lease-break-time` ([`break_time`]).
//! - [`Ranges`]: byte ranges, by open-file-description locks, which local `fcntl` and `lockf` lockers meet.
//!
//! - [`Shares`]: what may not be opened, by the `bpf` LSM where that is active; [`find_opener`] finds who has it open already.
//! - [`Breaks`]: that a lease breaks, and by which process; by tracepoints.
//!
//! Nothing here decides who gets what: that is the state table's, which knows of clients and asks for one lease an
//! inode, and one [`Ranges`] an owner of locks.
//!
//! # The daemon's own descriptions
//!
//! All of it works on open file descriptions that the daemon has opened itself ([`reopen`]), but for one case. A client's
//! own description counts as an opener, as any local process's: beside it the kernel grants a READ lease only if it is not
//! for writing, and a WRITE lease not at all. So a client on this host that wants to write under its WRITE lease passes the
//! description by which it does, and the lease is taken by that ([`share`]). Whoever has a descriptor of it may choose the
//! signal of its breaks, `SIGKILL` included, but not have it sent to this process: the kernel asks whether the user who
//! chose the receiver may signal it, and if nobody has chosen takes whoever takes the lease, which another process does.
//!
//! A description opened for writing breaks every lease of its file, and one for reading a WRITE lease, the daemon's
//! among them. So ranges come before leases: under a WRITE lease no local process has the file open, hence none has a
//! lock, and the client's own are taken in the kernel once the lease has been given up.

pub mod break_time;
mod leases;
mod openers;
mod ranges;
mod refusal;

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    fcntl::{OFlag, open},
    sys::stat::{Mode, SFlag, fstat},
};

pub use leases::{Break, LeaseKey, Leases, PATROL, SharedLease, share};
pub use openers::{Opener, Search, find_opener};
pub use ranges::{Conflict, Range, RangeError, RangeKind, Ranges};
pub use refusal::Refusal;

use crate::sys::lease;
pub use crate::{
    source::{Breaks, Deny, Programs, ROOM, Shares, Unsupported},
    sys::lease::Sort,
};

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseKind {
    /// Shared: nobody else writes.
    Read,
    /// Exclusive: nobody else has the file open.
    Write,
}

/// How a file is opened, or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Both,
}

impl Access {
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }
}

/// Whether this kernel has delegations, which hold directories and names too.
pub fn delegates() -> bool {
    let mode = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open("/", mode, Mode::empty()).is_ok_and(|root| lease::get(root.as_fd(), Sort::Delegation).is_ok())
}

/// A description of the daemon's own of the regular file or directory behind a descriptor, which may be `O_PATH`.
/// `EAGAIN`: somebody has a lease that this breaks, and has been told. `EINVAL`: neither file nor directory.
pub fn reopen(file: BorrowedFd<'_>, access: Access) -> io::Result<OwnedFd> {
    // To open a device or a pipe does something to it.
    let kind = SFlag::from_bits_truncate(fstat(file)?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG && kind != SFlag::S_IFDIR {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mode = match access {
        Access::Read => OFlag::O_RDONLY,
        Access::Write => OFlag::O_WRONLY,
        Access::Both => OFlag::O_RDWR,
    };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(open(path.as_str(), mode | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())?)
}
