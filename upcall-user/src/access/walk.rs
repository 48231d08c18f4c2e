//! Opening a path beneath an export, as the user that the thread is at the time.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

use super::exports::{Beneath, Export, Exports};
use super::inode::identity;
use super::{AccessError, links};

/// How often a walk that a concurrent rename or mount disturbed is begun anew.
const ATTEMPTS: usize = 16;

/// How many absolute symlinks a path may lead through.
const MAX_LINKS: usize = 8;

/// Longest path that the kernel takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// The path of an export leads to something else than when it was opened.
const REPLACED: Errno = Errno::ESTALE;

/// A file found beneath an export. `fd` is `O_PATH`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) fd: OwnedFd,
    pub(super) export: usize,
}

/// Walks for one user; remembers which roots that user can reach.
pub(super) struct Walker<'a> {
    exports: &'a Exports,
    reached: Vec<Option<Result<(), Errno>>>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(exports: &'a Exports) -> Self {
        Self { exports, reached: vec![None; exports.roots().len()] }
    }

    pub(super) fn exports(&self) -> &'a Exports {
        self.exports
    }

    /// Follows symlinks that stay in an export.
    pub(super) fn open(&mut self, path: &Path) -> Result<Found, AccessError> {
        check_text(path)?;
        let mut next = path.to_owned();
        for _ in 0..=MAX_LINKS {
            if let Some(found) = self.open_beneath(&next, path, ResolveFlag::empty())? {
                return Ok(found);
            }
            // An absolute symlink leaves the export even if it points back into one: start again from there.
            let expanded = self.exports.above(&next).into_iter().find_map(links::expand);
            next = expanded.ok_or_else(|| AccessError::not_exported(path))?;
        }
        Err(too_many_links(path))
    }

    /// Only if the path is free of symlinks.
    pub(super) fn open_real(&mut self, path: &Path) -> Result<Found, AccessError> {
        self.open_beneath(path, path, ResolveFlag::RESOLVE_NO_SYMLINKS)?
            .ok_or_else(|| AccessError::not_exported(path))
    }

    /// `None`: the path leaves every export it begins in, or begins in none. Errors name the path `asked` for.
    fn open_beneath(
        &mut self,
        path: &Path,
        asked: &Path,
        how: ResolveFlag,
    ) -> Result<Option<Found>, AccessError> {
        let mut replaced = false;
        for beneath in self.exports.above(path) {
            match self.reach(beneath).and_then(|()| open_below(beneath, OFlag::empty(), how)) {
                Err(Errno::EXDEV) => {}
                Err(REPLACED) => replaced = true,
                Err(errno) => return Err(refusal(errno, asked)),
                Ok(fd) => return Ok(Some(Found { fd, export: beneath.index })),
            }
        }
        if replaced {
            return Err(AccessError::NotExported(format!(
                "the export of {} has been moved or replaced since the daemon opened it; restart the daemon",
                asked.display()
            )));
        }
        Ok(None)
    }

    /// A user who cannot reach the root by its path must not reach it by our descriptor.
    fn reach(&mut self, Beneath { index, export, .. }: Beneath<'_>) -> Result<(), Errno> {
        let known = self.reached.get(index).copied().flatten();
        let result = known.unwrap_or_else(|| reach_root(export));
        if let Some(entry) = self.reached.get_mut(index) {
            *entry = Some(result);
        }
        result
    }
}

/// Opens a path below the root of its export. `EXDEV` if it leads out.
pub(super) fn open_below(beneath: Beneath<'_>, flags: OFlag, how: ResolveFlag) -> Result<OwnedFd, Errno> {
    let Beneath { export, rest, .. } = beneath;
    if rest.as_os_str().is_empty() {
        // Not by ".", which would ask for permission to search the root.
        return export.root().try_clone_to_owned().map_err(|error| errno_of(&error));
    }
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(how | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // The kernel gives up with EAGAIN when a rename or mount elsewhere might have let `..` escape.
    let mut last = Errno::EAGAIN;
    for _ in 0..ATTEMPTS {
        match openat2(export.root(), rest, how) {
            Err(Errno::EAGAIN) => last = Errno::EAGAIN,
            Err(Errno::EINTR) => last = Errno::EINTR,
            result => return result,
        }
    }
    Err(last)
}

fn reach_root(export: &Export) -> Result<(), Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = match openat2(AT_FDCWD, export.path(), how) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Err(REPLACED),
        result => result?,
    };
    let there = identity(&found).map_err(|error| errno_of(&error))?;
    if there == export.identity() { Ok(()) } else { Err(REPLACED) }
}

fn check_text(path: &Path) -> Result<(), AccessError> {
    let text = path.as_os_str().as_encoded_bytes();
    let problem = if !path.is_absolute() {
        "it is not absolute"
    } else if text.len() >= MAX_PATH {
        "it is longer than 4095 bytes"
    } else if text.contains(&0) {
        "it contains a NUL byte"
    } else {
        return Ok(());
    };
    Err(AccessError::BadName(format!("the path cannot be used: {problem}")))
}

fn refusal(errno: Errno, path: &Path) -> AccessError {
    let shown = path.display();
    match errno {
        Errno::ENOENT => AccessError::NotFound(format!("{shown} does not exist")),
        Errno::ENOTDIR => {
            AccessError::NotFound(format!("{shown} leads through something that is no directory"))
        }
        Errno::EACCES => AccessError::NotPermitted(format!(
            "{shown} leads through a directory that may not be searched by this user"
        )),
        Errno::ELOOP => too_many_links(path),
        Errno::ENAMETOOLONG => AccessError::BadName(format!("{shown} has too long a name in it")),
        other => AccessError::Internal { tried: format!("open {shown}"), source: other.into() },
    }
}

fn too_many_links(path: &Path) -> AccessError {
    AccessError::BadTarget(format!(
        "{} leads through too many symlinks, or through a magic one",
        path.display()
    ))
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
