//! Opening a path beneath an export, as the user that the thread is at the time.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::exports::Exports;
use super::near::Near;
use super::root::{NoRoot, Root};
use super::{AccessError, links};

/// How often a walk that a concurrent rename or mount disturbed is begun anew.
const ATTEMPTS: usize = 16;

/// How many absolute symlinks a path may lead through.
const MAX_LINKS: usize = 8;

/// Longest path that the kernel takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// A file found beneath an export. `fd` is `O_PATH`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) fd: OwnedFd,
    pub(super) export: usize,
}

/// Walks for one user; keeps the roots that it opened as that user. They pin filesystems: it serves one batch.
pub(super) struct Walker<'a> {
    exports: &'a Exports,
    roots: Vec<Option<Result<Root, NoRoot>>>,
    near: Option<Near>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(exports: &'a Exports) -> Self {
        Self { exports, roots: exports.roots().iter().map(|_| None).collect(), near: None }
    }

    pub(super) fn exports(&self) -> &'a Exports {
        self.exports
    }

    /// Follows symlinks that stay in an export.
    pub(super) fn open(&mut self, path: &Path) -> Result<Found, AccessError> {
        check_text(path)?;
        if let Some(found) = self.open_near(path) {
            return Ok(found);
        }
        let mut next = Cow::Borrowed(path);
        for _ in 0..=MAX_LINKS {
            if let Some(found) = self.open_beneath(&next, path, ResolveFlag::empty())? {
                return Ok(found);
            }
            // An absolute symlink leaves the export even if it points back into one: start again from there.
            let expanded = self.exports.above(&next).into_iter().find_map(|beneath| {
                let root = self.root(beneath.index).ok()?;
                links::expand(root, beneath)
            });
            next = Cow::Owned(expanded.ok_or_else(|| AccessError::not_exported(path))?);
        }
        Err(too_many_links(path))
    }

    /// For a neighbour of a path that was opened before. `None`: it takes another look.
    fn open_near(&mut self, path: &Path) -> Option<Found> {
        let near = self.near.take()?;
        let rest = near.rest(path)?;
        let fd = open_below(self.root(near.index).ok()?, rest, OFlag::empty(), ResolveFlag::empty()).ok()?;
        Some(Found { fd, export: self.near.insert(near).index })
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
        let mut unavailable = None;
        let above = self.exports.above(path);
        for beneath in &above {
            let opened = self
                .root(beneath.index)
                .and_then(|root| open_below(root, beneath.rest, OFlag::empty(), how).map_err(NoRoot::Errno));
            match opened {
                Err(NoRoot::Errno(Errno::EXDEV)) => {}
                Err(NoRoot::Unavailable(why)) => unavailable = why.why_not(),
                Err(NoRoot::Errno(errno)) => return Err(refusal(errno, asked)),
                Ok(fd) => {
                    if above.len() == 1 {
                        self.near = Near::of(self.exports, path, *beneath);
                    }
                    return Ok(Some(Found { fd, export: beneath.index }));
                }
            }
        }
        match unavailable {
            Some(why) => Err(AccessError::NotExported(format!(
                "the export of {} is not available: {why}",
                asked.display()
            ))),
            None => Ok(None),
        }
    }

    /// Opened by its path: a user who cannot reach it so must not reach it by our descriptor.
    pub(super) fn root(&mut self, export: usize) -> Result<&Root, NoRoot> {
        let (Some(root), Some(export)) = (self.roots.get_mut(export), self.exports.roots().get(export))
        else {
            return Err(NoRoot::Errno(Errno::EBADF));
        };
        root.get_or_insert_with(|| export.open()).as_ref().map_err(|error| *error)
    }
}

/// Opens a path below the root of its export. `EXDEV` if it leads out.
pub(super) fn open_below(root: &Root, rest: &Path, flags: OFlag, how: ResolveFlag) -> Result<OwnedFd, Errno> {
    if rest.as_os_str().is_empty() {
        // Not by ".", which would ask for permission to search the root.
        let copy = root.as_fd().try_clone_to_owned();
        return copy.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
    }
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | flags)
        .resolve(how | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    // The kernel gives up with EAGAIN when a rename or mount elsewhere might have let `..` escape.
    let mut last = Errno::EAGAIN;
    for _ in 0..ATTEMPTS {
        match openat2(root, rest, how) {
            Err(Errno::EAGAIN) => last = Errno::EAGAIN,
            Err(Errno::EINTR) => last = Errno::EINTR,
            result => return result,
        }
    }
    Err(last)
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
        other => AccessError::internal(&format!("open {shown}"))(other.into()),
    }
}

fn too_many_links(path: &Path) -> AccessError {
    AccessError::BadTarget(format!(
        "{} leads through too many symlinks, or through a magic one",
        path.display()
    ))
}
