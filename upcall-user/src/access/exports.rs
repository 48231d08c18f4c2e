use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, fstatfs};
use serde::Deserialize;

use super::Resolved;
use super::inode::{Kind, kind};
use super::root::{Availability, Lasting, NoRoot, Root};
use crate::mounts;
use crate::state::Switches;

/// The inode number of every btrfs subvolume's root.
const BTRFS_SUBVOLUME_ROOT: u64 = 256;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("nothing is exported; name a directory or a file with --export PATH")]
    Empty,
    #[error("cannot export {}: it does not exist; create it or correct the path", .0.display())]
    Missing(PathBuf),
    #[error("{} is exported twice, and not for the same: name it once, with all that clients may hold there", .0.display())]
    Differs(PathBuf),
    #[error("cannot export {}: it is neither a directory nor a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("cannot export {}: cannot {tried}", path.display())]
    Io { path: PathBuf, tried: &'static str, source: io::Error },
}

/// What is to be exported, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Spelling")]
pub struct ExportSpec {
    pub path: PathBuf,
    /// What clients may hold there.
    pub switches: Switches,
}

impl From<PathBuf> for ExportSpec {
    fn from(path: PathBuf) -> Self {
        Self { path, switches: Switches::default() }
    }
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an export is a path, or a table with `path` and any of `leases`, `shares` and `locks`"
)]
enum Spelling {
    Path(PathBuf),
    Table(Table),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    path: PathBuf,
    #[serde(default)]
    leases: bool,
    #[serde(default)]
    shares: bool,
    #[serde(default)]
    locks: bool,
}

impl From<Spelling> for ExportSpec {
    fn from(spelling: Spelling) -> Self {
        match spelling {
            Spelling::Path(path) => path.into(),
            Spelling::Table(Table { path, leases, shares, locks }) => {
                Self { path, switches: Switches { leases, shares, locks } }
            }
        }
    }
}

/// A directory tree, or a single file, that the administrator has enabled. Its root is open only while somebody
/// uses it, so that its filesystem can be unmounted.
#[derive(Debug)]
pub struct Export {
    /// As it was named, made absolute; clients may use it too.
    given: PathBuf,
    path: PathBuf,
    lasting: Lasting,
    kind: Kind,
    switches: Switches,
    /// The root was that of a mount.
    mounted: bool,
    whole_filesystem: bool,
    /// An [`Availability`], as of the last look.
    availability: AtomicU8,
}

/// All that may be watched.
#[derive(Debug)]
pub struct Exports(Vec<Export>);

impl Exports {
    /// Looks at each path. One that was named twice, or by two names, counts once.
    pub fn open(specs: &[ExportSpec]) -> Result<Self, ExportError> {
        let mut exports: Vec<Export> = Vec::with_capacity(specs.len());
        for spec in specs {
            let export = Export::new(spec)?;
            // Which name a client uses must not decide what it may hold.
            let differs = |other: &Export| other.path == export.path && other.switches != export.switches;
            if exports.iter().any(differs) {
                return Err(ExportError::Differs(export.path));
            }
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

    /// What clients may hold somewhere.
    pub fn switches(&self) -> Switches {
        self.0.iter().fold(Switches::default(), |all, export| all.union(export.switches))
    }

    /// The innermost export that a file lies in by its real path; where the kernel knows none, the one it was found in.
    pub fn innermost(&self, found: &Resolved) -> usize {
        let path = found.path();
        let above = path.as_deref().map(|path| self.above(path)).unwrap_or_default();
        above.first().map_or(found.export, |beneath| beneath.index)
    }

    /// Looks whether each export is still there; the log says what has changed. Blocks.
    pub fn check(&self) {
        for export in &self.0 {
            // What is worth saying has been noted and logged.
            let _ = export.open();
        }
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
    fn new(spec: &ExportSpec) -> Result<Self, ExportError> {
        let ExportSpec { path: given, switches } = spec;
        let failed = |tried| move |source| ExportError::Io { path: given.clone(), tried, source };
        let path = fs::canonicalize(given).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ExportError::Missing(given.clone()),
            _ => failed("resolve its path")(source),
        })?;
        let root = Root::open(&path).map_err(|error| match error {
            NoRoot::Unavailable(_) => ExportError::Missing(given.clone()),
            NoRoot::Errno(errno) => failed("open it")(errno.into()),
        })?;
        let kind = kind(&root).map_err(failed("look at it"))?;
        if kind == Kind::Other {
            return Err(ExportError::NotAFile(path));
        }
        Ok(Self {
            given: std::path::absolute(given).map_err(failed("make its path absolute"))?,
            lasting: root.lasting().map_err(failed("look at it"))?,
            mounted: root.mount.is_root,
            whole_filesystem: is_whole_filesystem(&root).map_err(failed("find its mount"))?,
            path,
            kind,
            switches: *switches,
            availability: AtomicU8::new(Availability::Available as u8),
        })
    }

    /// Opens the root, as whoever this thread is, if it still is the one that was exported.
    pub(super) fn open(&self) -> Result<Root, NoRoot> {
        let root = Root::open(&self.path).and_then(|root| {
            if root.lasting()? == self.lasting {
                return Ok(root);
            }
            let unmounted = self.mounted && !root.mount.is_root;
            let now = if unmounted { Availability::Unmounted } else { Availability::Replaced };
            Err(NoRoot::Unavailable(now))
        });
        match &root {
            Ok(_) => self.note(Availability::Available),
            Err(NoRoot::Unavailable(now)) => self.note(*now),
            Err(NoRoot::Errno(Errno::EACCES)) => {}
            Err(NoRoot::Errno(error)) => {
                tracing::debug!(export = %self.path.display(), %error, "cannot open an export");
            }
        }
        root
    }

    /// Logs each change once.
    fn note(&self, now: Availability) {
        if self.availability.swap(now as u8, SeqCst) == now as u8 {
            return;
        }
        let export = self.path.display();
        match now.why_not() {
            Some(why) => tracing::warn!(%export, why, "export not available"),
            None => tracing::info!(%export, "export available again"),
        }
    }

    pub fn availability(&self) -> Availability {
        Availability::from_raw(self.availability.load(SeqCst))
    }

    /// The path as the administrator named it, made absolute.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// The real path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What clients may hold there.
    pub fn switches(&self) -> Switches {
        self.switches
    }

    /// A directory tree, not a single file.
    pub fn is_tree(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Every inode of the root's filesystem is in the export.
    pub fn is_whole_filesystem(&self) -> bool {
        self.whole_filesystem
    }

    fn rest<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let rest = path.strip_prefix(&self.path).or_else(|_| path.strip_prefix(&self.given)).ok()?;
        (self.is_tree() || rest.as_os_str().is_empty()).then_some(rest)
    }
}

/// Whether `root` is the root of a filesystem (or of a btrfs subvolume, which has a device number of its own),
/// so that every inode with its device number hangs below it.
fn is_whole_filesystem(root: &Root) -> io::Result<bool> {
    if kind(root)? != Kind::Directory {
        return Ok(false);
    }
    if fstatfs(root)?.filesystem_type() == BTRFS_SUPER_MAGIC {
        return Ok(root.identity.ino == BTRFS_SUBVOLUME_ROOT);
    }
    // The root of a bind mount is the root of a mount, but not of the filesystem.
    let mount = root.mount;
    Ok(mount.is_root && mounts::Table::read()?.mounts().any(|it| it.id == mount.id && it.root == "/"))
}

#[cfg(test)]
mod tests;
