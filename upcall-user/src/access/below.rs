//! Inodes below a directory that has been registered: whether they still are where the kernel saw them, and whether a
//! principal could reach and read them.

use std::{
    ffi::OsStr,
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

use super::{AccessError, Exports, FileHandle, Principal, resolve::verify_handle};
use crate::sys::{file::may_read, handle::handle_of};

/// Never elsewhere than below the directory, and nothing is followed.
const HOW: ResolveFlag = ResolveFlag::RESOLVE_BENEATH
    .union(ResolveFlag::RESOLVE_NO_SYMLINKS)
    .union(ResolveFlag::RESOLVE_NO_MAGICLINKS)
    .union(ResolveFlag::RESOLVE_NO_XDEV);

/// How often a walk that a concurrent rename disturbed is begun anew.
const ATTEMPTS: usize = 16;

/// A directory, as one principal sees what is below it.
pub struct Tree<'a> {
    root: OwnedFd,
    principal: &'a Principal,
}

/// What is at a path.
#[derive(Debug)]
pub struct There {
    /// `O_PATH`.
    pub fd: OwnedFd,
    pub ino: u64,
    pub handle: Option<FileHandle>,
}

impl<'a> Tree<'a> {
    /// By the handle that [`resolve`](super::resolve) gave.
    pub fn open(
        exports: &Exports,
        export: usize,
        handle: &FileHandle,
        principal: &'a Principal,
    ) -> Result<Self, AccessError> {
        Ok(Self { root: verify_handle(exports, export, handle)?, principal })
    }

    /// What is at the path, if the principal could reach and read it. `None`: nothing, or not for this principal.
    pub fn look(&self, path: &[u8]) -> Result<Option<There>, AccessError> {
        let _guard = self.principal.assume().map_err(|errno| self.principal.not_assumed(errno))?;
        let Some(fd) = open(self.root.as_fd(), path)? else { return Ok(None) };
        let stat = fstat(&fd).map_err(|errno| AccessError::internal("look at a file")(errno.into()))?;
        let readable = match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFDIR | SFlag::S_IFREG => is_readable(fd.as_fd())?,
            // Whoever may list the directory may know of it; there is nothing in it to be read.
            _ => self.lists_above(path)?,
        };
        if !readable {
            return Ok(None);
        }
        let handle = handle_of(fd.as_fd()).map_err(AccessError::internal("ask for a file handle"))?;
        Ok(Some(There { ino: stat.st_ino, handle, fd }))
    }

    /// Whether the principal could see that nothing is at the path any more: it may list, and search, the directory, or
    /// the nearest one above that still exists.
    pub fn sees_absence(&self, path: &[u8]) -> Result<bool, AccessError> {
        let _guard = self.principal.assume().map_err(|errno| self.principal.not_assumed(errno))?;
        self.lists_above(path)
    }

    fn lists_above(&self, mut path: &[u8]) -> Result<bool, AccessError> {
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = path.get(..slash).unwrap_or_default();
            match self.open_directory(path)? {
                Directory::There(fd) => return is_listable(fd.as_fd()),
                Directory::Hidden => return Ok(false),
                Directory::Gone => {}
            }
        }
        is_listable(self.root.as_fd())
    }

    fn open_directory(&self, path: &[u8]) -> Result<Directory, AccessError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match walk(self.root.as_fd(), path, flags) {
            Ok(fd) => Ok(Directory::There(fd)),
            Err(Errno::EACCES | Errno::EPERM) => Ok(Directory::Hidden),
            Err(errno) if is_absence(errno) => Ok(Directory::Gone),
            Err(errno) => Err(AccessError::internal("open a directory")(errno.into())),
        }
    }
}

enum Directory {
    There(OwnedFd),
    Hidden,
    Gone,
}

/// `None`: it is not there, or the thread's user may not go there.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, AccessError> {
    match walk(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::EACCES | Errno::EPERM) => Ok(None),
        Err(errno) if is_absence(errno) => Ok(None),
        Err(errno) => Err(AccessError::internal("open a file")(errno.into())),
    }
}

/// A symlink, or another filesystem, is where a directory was.
fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::ENAMETOOLONG)
}

fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags).resolve(HOW);
    let mut last = Errno::EAGAIN;
    for _ in 0..ATTEMPTS {
        match openat2(root, Path::new(OsStr::from_bytes(path)), how) {
            Err(errno @ (Errno::EAGAIN | Errno::EINTR)) => last = errno,
            opened => return opened,
        }
    }
    Err(last)
}

fn is_readable(file: BorrowedFd<'_>) -> Result<bool, AccessError> {
    answered(may_read(file))
}

fn is_listable(directory: BorrowedFd<'_>) -> Result<bool, AccessError> {
    Ok(is_readable(directory)? && answered(crate::sys::file::may_search(directory))?)
}

fn answered(asked: std::io::Result<()>) -> Result<bool, AccessError> {
    match asked {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Ok(false),
            _ => Err(AccessError::internal("check permission")(error)),
        },
    }
}
