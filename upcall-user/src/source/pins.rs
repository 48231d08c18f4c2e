//! Where maps and programs outlive the daemon: a directory of the BPF filesystem, in it one directory for each layout
//! of the maps.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use aya::{
    maps::MapData,
    programs::links::{FdLink, PinnedLink},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use upcall_common::abi::{LAYOUT, maps};

use super::{Sizes, kernel::Flags, load::LoadError};
use crate::sys::map::MappedArray;

/// The maps that a daemon takes over.
pub(super) const MAPS: [&str; 5] = [maps::SLOTS, maps::INDEX, maps::ALIASES, maps::DIRTY, maps::CONTROL];

const LINK: &str = "link_";
/// A link on its way to the place of an older one.
const NEW: &str = "_new";

#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error("{0} is not on a BPF filesystem; mount one with `mount -t bpf bpf /sys/fs/bpf`")]
    NotBpf(PathBuf),
    #[error("another daemon has {0}: stop it, or set `pin` to a directory of its own for this one")]
    InUse(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// The directory, which belongs to this process alone for as long as this lives.
pub struct Pins {
    root: PathBuf,
    _lock: Flock<File>,
}

impl Pins {
    /// Makes the directory if need be, not its parents.
    pub fn open(root: &Path) -> Result<Self, PinError> {
        let at = |error| PinError::Io { path: root.to_owned(), error };
        if !is_possible(root) {
            return Err(PinError::NotBpf(root.to_owned()));
        }
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(error)),
            _ => {}
        }
        let dir = File::open(root).map_err(at)?;
        let lock = Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => PinError::InUse(root.to_owned()),
            other => at(other.into()),
        })?;
        // Whoever had it before may have removed it.
        let (held, there) = (lock.metadata().map_err(at)?, fs::metadata(root).map_err(at)?);
        if held.ino() != there.ino() {
            return Err(PinError::InUse(root.to_owned()));
        }
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    /// Removes all that is pinned, and so detaches it from the kernel. Returns the names of the links.
    pub fn remove(self) -> Result<Vec<String>, PinError> {
        let mut links = Vec::new();
        for set in entries(&self.root)? {
            links.extend(remove_set(&set)?);
        }
        fs::remove_dir(&self.root).map_err(|error| PinError::Io { path: self.root.clone(), error })?;
        Ok(links)
    }

    /// The set of pins for maps of these sizes, after everything that this daemon cannot take over is removed.
    pub(super) fn set(&self, sizes: Sizes) -> Result<PinSet, PinError> {
        let name = format!("{LAYOUT:016x}_{}_{}", sizes.slots, sizes.dirty_ring_bytes);
        let dir = self.root.join(name);
        for other in entries(&self.root)?.into_iter().filter(|other| *other != dir) {
            tracing::warn!(path = %other.display(), "removing what a daemon with other maps has left: clients resync");
            remove_set(&other)?;
        }
        let mut set = PinSet { dir, whole: false };
        set.whole = set.is_whole()?;
        if !set.whole {
            if set.dir.exists() {
                tracing::warn!(path = %set.dir.display(), "removing what an earlier daemon has left incomplete: clients resync");
                remove_set(&set.dir)?;
            }
            fs::create_dir(&set.dir).map_err(|error| set.error(error))?;
        }
        Ok(set)
    }
}

/// What is pinned with one layout of the maps.
pub(super) struct PinSet {
    dir: PathBuf,
    /// An earlier daemon has left all of it, at work.
    pub(super) whole: bool,
}

impl PinSet {
    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn error(&self, error: io::Error) -> PinError {
        PinError::Io { path: self.dir.clone(), error }
    }

    /// Whether every program that was pinned still is, with maps that were complete.
    fn is_whole(&self) -> Result<bool, PinError> {
        let Ok(control) = MapData::from_pin(self.map(maps::CONTROL)) else { return Ok(false) };
        let control = MappedArray::new(control.fd().as_fd(), 1).map_err(|error| self.error(error))?;
        let flags = Flags::new(control);
        let links = self.links()?.len();
        Ok(flags.epoch() != 0 && u64::try_from(links).is_ok_and(|links| links >= flags.links()))
    }

    fn links(&self) -> Result<Vec<PathBuf>, PinError> {
        Ok(entries(&self.dir)?.into_iter().filter(|path| link_name(path).is_some()).collect())
    }

    /// The ids of the programs that are pinned.
    pub(super) fn programs(&self) -> Result<HashSet<u32>, LoadError> {
        let mut programs = HashSet::new();
        for path in self.links()? {
            let link = PinnedLink::from_pin(path).map_err(|error| LoadError::Pinned(error.to_string()))?;
            let info = FdLink::from(link).info().map_err(|error| LoadError::Pinned(error.to_string()))?;
            programs.insert(info.program_id());
        }
        Ok(programs)
    }

    /// Pins links in the place of those of an earlier daemon: at no time is an inode unwatched.
    pub(super) fn keep(&self, links: Vec<(&'static str, FdLink)>, flags: &Flags) -> Result<(), LoadError> {
        let count = links.len();
        let mut kept = Vec::new();
        for (name, link) in links {
            let place = self.dir.join(format!("{LINK}{name}"));
            let way = self.dir.join(format!("{LINK}{name}{NEW}"));
            if way.exists() {
                fs::remove_file(&way).map_err(|error| self.error(error))?;
            }
            link.pin(&way).map_err(|error| LoadError::Pinned(error.to_string()))?;
            fs::rename(&way, &place).map_err(|error| self.error(error))?;
            kept.push(place);
        }
        flags.set_links(count as u64);
        for old in self.links()?.into_iter().filter(|path| !kept.contains(path)) {
            fs::remove_file(&old).map_err(|error| self.error(error))?;
        }
        Ok(())
    }
}

/// Whether there may be pins in `root`, which need not exist.
pub(super) fn is_possible(root: &Path) -> bool {
    let parent = || root.parent().is_some_and(is_bpf);
    if root.exists() { is_bpf(root) } else { parent() }
}

fn is_bpf(path: &Path) -> bool {
    statfs(path).is_ok_and(|filesystem| filesystem.filesystem_type() == BPF_FS_MAGIC)
}

fn link_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_prefix(LINK)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    let at = |error| PinError::Io { path: dir.to_owned(), error };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(at)).collect()
}

/// Programs first: without them nothing changes the maps.
fn remove_set(dir: &Path) -> Result<Vec<String>, PinError> {
    let at = |error| PinError::Io { path: dir.to_owned(), error };
    let mut all = entries(dir)?;
    all.sort_by_key(|path| link_name(path).is_none());
    for path in &all {
        fs::remove_file(path).map_err(at)?;
    }
    fs::remove_dir(dir).map_err(at)?;
    Ok(all.iter().filter_map(|path| link_name(path)).map(str::to_owned).collect())
}
