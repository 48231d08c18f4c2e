//! The way from a scope's directory to a child, as the user that the thread is at the time. Everything is opened by
//! `O_PATH` alone, which no FIFO, device or lease notices.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{SFlag, fstat},
};

use crate::sys::file::{may_list, may_read};

/// How often a step is tried that a signal interrupts.
const ATTEMPTS: usize = 16;

/// What is at a path.
#[derive(Debug)]
pub(super) enum Found {
    /// `readable`: its contents are the user's to see; those of what has none are the names beside it.
    File { file: OwnedFd, readable: bool },
    /// The directory is there, and has no such name.
    Nothing,
    /// A directory on the way is not there.
    NoDirectory,
    /// The user may not get there, or nobody can: something is mounted on the way.
    Closed,
    /// Nobody knows.
    Failed(Errno),
}

/// A path looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) found: Found,
    /// The user may read the names in the directory; of one that is not there, false.
    pub(super) listable: bool,
}

struct Directory {
    fd: OwnedFd,
    listable: Option<bool>,
}

/// Goes from one path to the next. Those that share directories follow one another.
pub(super) struct Walk {
    root: Directory,
    /// From the root to where the path before led.
    below: Vec<(Vec<u8>, Directory)>,
}

impl Walk {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Directory { fd: root, listable: None }, below: Vec::new() }
    }

    /// Looks at a path relative to the root.
    pub(super) fn look(&mut self, path: &[u8]) -> Look {
        self.try_look(path).unwrap_or_else(|found| Look { found, listable: false })
    }

    fn try_look(&mut self, path: &[u8]) -> Result<Look, Found> {
        let mut names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        if names.iter().any(|name| matches!(*name, b"" | b"." | b"..")) {
            return Err(Found::Failed(Errno::EINVAL));
        }
        let name = names.pop().unwrap_or_default();
        self.descend(&names)?;
        let directory = self.last();
        let listable = directory.is_listable()?;
        let found = match open(directory.fd.as_fd(), name, OFlag::empty()) {
            Ok(file) => Found::File { readable: is_readable(file.as_fd(), listable)?, file },
            Err(errno) => refusal(errno, Found::Nothing),
        };
        Ok(Look { found, listable })
    }

    fn descend(&mut self, names: &[&[u8]]) -> Result<(), Found> {
        let shared = self.below.iter().zip(names).take_while(|((known, _), name)| known == *name).count();
        self.below.truncate(shared);
        for name in names.iter().skip(shared) {
            let fd = open(self.last().fd.as_fd(), name, OFlag::O_DIRECTORY)
                .map_err(|errno| refusal(errno, Found::NoDirectory))?;
            self.below.push((name.to_vec(), Directory { fd, listable: None }));
        }
        Ok(())
    }

    fn last(&mut self) -> &mut Directory {
        self.below.last_mut().map_or(&mut self.root, |(_, directory)| directory)
    }
}

impl Directory {
    fn is_listable(&mut self) -> Result<bool, Found> {
        if let Some(known) = self.listable {
            return Ok(known);
        }
        let listable = permitted(may_list(self.fd.as_fd()))?;
        self.listable = Some(listable);
        Ok(listable)
    }
}

/// A step: symlinks are not followed, and mount points not crossed.
fn open(directory: BorrowedFd<'_>, name: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | flags).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let name = Path::new(OsStr::from_bytes(name));
    let mut last = Errno::EINTR;
    for _ in 0..ATTEMPTS {
        match openat2(directory, name, how) {
            Err(errno @ (Errno::EINTR | Errno::EAGAIN)) => last = errno,
            result => return result,
        }
    }
    Err(last)
}

fn refusal(errno: Errno, absent: Found) -> Found {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => absent,
        Errno::EACCES | Errno::EPERM | Errno::EXDEV => Found::Closed,
        other => Found::Failed(other),
    }
}

fn is_readable(file: BorrowedFd<'_>, listable: bool) -> Result<bool, Found> {
    match fstat(file).map(|stat| stat.st_mode & SFlag::S_IFMT.bits()).map(SFlag::from_bits_truncate) {
        Ok(SFlag::S_IFREG | SFlag::S_IFDIR) => permitted(may_read(file)),
        Ok(_) => Ok(listable),
        Err(errno) => Err(Found::Failed(errno)),
    }
}

fn permitted(answer: io::Result<()>) -> Result<bool, Found> {
    match answer.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)) {
        Ok(()) => Ok(true),
        Err(Errno::EACCES | Errno::EPERM) => Ok(false),
        Err(errno) => Err(Found::Failed(errno)),
    }
}
