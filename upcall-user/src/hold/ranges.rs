//! Byte ranges, by open-file-description locks of the daemon.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use nix::fcntl::{FcntlArg, fcntl};

use super::{Access, reopen};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeKind {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

/// Bytes of a file. `length` 0: to its end and beyond. The kernel counts to 2^63 - 1: what lies beyond no local process can
/// lock, so it needs no lock there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    pub length: u64,
}

/// Who is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub kind: RangeKind,
    pub range: Range,
    /// The process of a classic (`fcntl`, `lockf`) lock. `None`: an open-file-description lock, which belongs to
    /// nobody in particular, or a process that is not visible here.
    pub pid: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// Try later: [`Ranges::wait`].
    #[error("somebody else has a lock in the range")]
    Conflict,
    /// `ENOLCK`.
    #[error("the kernel has no memory for another lock")]
    NoMemory,
    #[error("the kernel refused it: {0}")]
    Other(#[from] io::Error),
}

/// One owner's locks of one file: they merge, split and replace one another as POSIX says. Two owners need a description
/// each, since locks of one description never conflict; to close it is to unlock all. Locks are only advice to those who
/// do not lock, as they always are on Linux.
#[derive(Debug)]
pub struct Ranges {
    file: File,
    access: Access,
}

impl Ranges {
    /// A write lock needs a description that may write, a read lock one that may read.
    pub fn open(file: BorrowedFd<'_>, access: Access) -> io::Result<Self> {
        Ok(Self { file: reopen(file, access)?.into(), access })
    }

    /// Whether its description may lock so.
    pub const fn locks(&self, kind: RangeKind) -> bool {
        match kind {
            RangeKind::Read => self.access.reads(),
            RangeKind::Write => self.access.writes(),
        }
    }

    /// Never waits.
    pub fn lock(&self, kind: RangeKind, range: Range) -> Result<(), RangeError> {
        let Some(lock) = flock(kind.raw(), range) else { return Ok(()) };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)).map_err(io::Error::from) {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EACCES) => RangeError::Conflict,
                Some(libc::ENOLCK | libc::ENOMEM) => RangeError::NoMemory,
                _ => RangeError::Other(error),
            }),
        }
    }

    /// Locks as soon as nobody is in the way; to drop the wait is to cancel it.
    ///
    /// It tries again and again, less and less often, up to [`SLOWEST`]. In the kernel a waiter takes a thread of its
    /// own, which only a signal can call back; here it takes a timer, so there may be as many as the state table
    /// allows: a thousand cost ten thousand system calls a second of about a microsecond. Granted up to [`SLOWEST`]
    /// late, and a local process that waits in the kernel goes first.
    pub async fn wait(&self, kind: RangeKind, range: Range) -> Result<(), RangeError> {
        let mut pause = FASTEST;
        loop {
            match self.lock(kind, range) {
                Err(RangeError::Conflict) => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause = (pause * 2).min(SLOWEST);
        }
    }

    /// Unlocking what is not locked succeeds.
    pub fn unlock(&self, range: Range) -> Result<(), RangeError> {
        // It may split a lock in two, hence the memory.
        let Some(lock) = flock(libc::F_UNLCK, range) else { return Ok(()) };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&lock)).map_err(io::Error::from) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOLCK) => Err(RangeError::NoMemory),
            Err(error) => Err(error.into()),
        }
    }

    /// The first lock in the way of one that would be taken, if there is any.
    pub fn test(&self, kind: RangeKind, range: Range) -> Result<Option<Conflict>, RangeError> {
        let Some(mut lock) = flock(kind.raw(), range) else { return Ok(None) };
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(io::Error::from)?;
        let kind = match libc::c_int::from(lock.l_type) {
            libc::F_UNLCK => return Ok(None),
            libc::F_RDLCK => RangeKind::Read,
            _ => RangeKind::Write,
        };
        let [start, length] = [lock.l_start, lock.l_len].map(i64::unsigned_abs);
        let pid = u32::try_from(lock.l_pid).ok().filter(|&pid| pid != 0);
        Ok(Some(Conflict { kind, range: Range { start, length }, pid }))
    }

    /// The description, for what else is to be done with the file.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

const FASTEST: Duration = Duration::from_millis(1);
/// Between two looks whether a lock can be had, once it has been waited for for long.
pub const SLOWEST: Duration = Duration::from_millis(100);

impl RangeKind {
    const fn raw(self) -> libc::c_int {
        match self {
            Self::Read => libc::F_RDLCK,
            Self::Write => libc::F_WRLCK,
        }
    }
}

/// The part that the kernel can hold: a range that ends beyond the largest offset goes to the end.
fn flock(kind: libc::c_int, range: Range) -> Option<libc::flock> {
    let start = i64::try_from(range.start).ok()?;
    let length = match i64::try_from(range.length) {
        Ok(length) if start.checked_add(length - 1).is_some() => length,
        _ => 0,
    };
    Some(libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: length,
        // As `F_OFD_*` demand.
        l_pid: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_beyond_what_the_kernel_counts() {
        const LAST: u64 = i64::MAX as u64;
        let held = |start, length| {
            flock(libc::F_RDLCK, Range { start, length }).map(|lock| (lock.l_start, lock.l_len))
        };
        assert_eq!(held(5, 10), Some((5, 10)));
        assert_eq!(held(5, 0), Some((5, 0)));
        assert_eq!(held(0, LAST), Some((0, i64::MAX)));
        assert_eq!(held(1, LAST), Some((1, i64::MAX)));
        assert_eq!(held(2, LAST), Some((2, 0)));
        assert_eq!(held(7, u64::MAX), Some((7, 0)));
        assert_eq!(held(LAST, 1), Some((i64::MAX, 1)));
        assert_eq!(held(LAST + 1, 1), None);
    }
}
