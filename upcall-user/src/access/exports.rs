use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};

use super::inode::{Identity, Kind, identity, kind};
use crate::sys::file::mount_of;

/// The inode number of every btrfs subvolume's root.
const BTRFS_SUBVOLUME_ROOT: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("nothing is exported; name a directory or a file with --export PATH")]
    Empty,
    #[error("cannot export {}: it does not exist; create it or correct the path", .0.display())]
    Missing(PathBuf),
    #[error("cannot export {}: it is neither a directory nor a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("cannot export {}: cannot {tried}", path.display())]
    Io { path: PathBuf, tried: &'static str, source: io::Error },
}

/// A directory tree, or a single file, that the administrator has enabled.
#[derive(Debug)]
pub struct Export {
    /// As it was named, made absolute; clients may use it too.
    given: PathBuf,
    path: PathBuf,
    root: OwnedFd,
    identity: Identity,
    kind: Kind,
    whole_filesystem: bool,
}

/// All that may be watched.
#[derive(Debug)]
pub struct Exports(Vec<Export>);

impl Exports {
    /// Opens each path. One that was named twice, or by two names, counts once.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ExportError> {
        let mut exports: Vec<Export> = Vec::with_capacity(paths.len());
        for path in paths {
            let export = Export::open(path)?;
            let known = |other: &Export| other.path == export.path && other.given == export.given;
            if !exports.iter().any(known) {
                exports.push(export);
            }
        }
        if exports.is_empty() { Err(ExportError::Empty) } else { Ok(Self(exports)) }
    }

    /// In the order that [`super::Resolved::export`] counts in.
    pub fn roots(&self) -> &[Export] {
        &self.0
    }

    /// The exports that a path lies beneath by its text, the innermost first, each with the rest of the path.
    pub(super) fn above<'a>(&'a self, path: &'a Path) -> Vec<Beneath<'a>> {
        let mut found: Vec<_> = self
            .0
            .iter()
            .enumerate()
            .filter_map(|(index, export)| export.rest(path).map(|rest| Beneath { index, export, rest }))
            .collect();
        found.sort_by_key(|beneath| beneath.rest.components().count());
        found
    }
}

/// An export and a path below its root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beneath<'a> {
    pub(super) index: usize,
    pub(super) export: &'a Export,
    /// Empty for the root itself.
    pub(super) rest: &'a Path,
}

impl Export {
    fn open(given: &Path) -> Result<Self, ExportError> {
        let failed = |tried| move |source| ExportError::Io { path: given.to_owned(), tried, source };
        let path = fs::canonicalize(given).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ExportError::Missing(given.to_owned()),
            _ => failed("resolve its path")(source),
        })?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = open(&path, flags, Mode::empty()).map_err(io::Error::from).map_err(failed("open it"))?;
        let kind = kind(&root).map_err(failed("look at it"))?;
        if kind == Kind::Other {
            return Err(ExportError::NotAFile(path));
        }
        Ok(Self {
            given: std::path::absolute(given).map_err(failed("make its path absolute"))?,
            identity: identity(&root).map_err(failed("look at it"))?,
            whole_filesystem: is_whole_filesystem(&root).map_err(failed("find its mount"))?,
            path,
            root,
            kind,
        })
    }

    /// The path as the administrator named it, made absolute.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// The real path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory tree, not a single file.
    pub fn is_tree(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Every inode of the root's filesystem is in the export.
    pub fn is_whole_filesystem(&self) -> bool {
        self.whole_filesystem
    }

    /// `O_PATH` descriptor of the root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    fn rest<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let rest = path.strip_prefix(&self.path).or_else(|_| path.strip_prefix(&self.given)).ok()?;
        (self.is_tree() || rest.as_os_str().is_empty()).then_some(rest)
    }
}

/// Whether `root` is the root of a filesystem (or of a btrfs subvolume, which has a device number of its own),
/// so that every inode with its device number hangs below it.
fn is_whole_filesystem(root: &OwnedFd) -> io::Result<bool> {
    if kind(root)? != Kind::Directory {
        return Ok(false);
    }
    if fstatfs(root)?.filesystem_type() == BTRFS_SUPER_MAGIC {
        return Ok(identity(root)?.ino == BTRFS_SUBVOLUME_ROOT);
    }
    let mount = mount_of(root.as_fd())?;
    // The root of a bind mount is the root of a mount, but not of the filesystem.
    Ok(mount.is_root && mounts_the_root(&fs::read_to_string("/proc/self/mountinfo")?, mount.id))
}

/// Whether the mount shows its filesystem from the root. Each line begins: id, parent, device, root within the
/// filesystem.
fn mounts_the_root(mountinfo: &str, id: u64) -> bool {
    mountinfo.lines().any(|line| {
        let mut fields = line.split(' ');
        fields.next().and_then(|field| field.parse().ok()) == Some(id) && fields.nth(2) == Some("/")
    })
}

#[cfg(test)]
mod tests;
