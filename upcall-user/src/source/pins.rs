//! Where maps and programs outlive the daemon: a directory of the BPF filesystem, in it one directory for each layout
//! of the maps.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use aya::{
    maps::MapData,
    programs::links::{FdLink, PinnedLink},
};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    sys::statfs::{BPF_FS_MAGIC, statfs},
    unistd::geteuid,
};
use upcall_common::abi::{LAYOUT, maps};

use super::{Sizes, error::LoadError, kernel::Flags};
use crate::{config::DEFAULT_PIN, sys::map::MappedArray};

/// The maps that a daemon takes over.
pub(super) const MAPS: [&str; 5] = [maps::SLOTS, maps::INDEX, maps::ALIASES, maps::DIRTY, maps::CONTROL];

/// More often than anybody removes the directory while it is being opened.
const TRIES: usize = 10;

const LINK: &str = "link_";
/// A link on its way to the place of an older one.
const NEW: &str = "_new";

#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error("{0} is not on a BPF filesystem; mount one with `mount -t bpf -o mode=700 bpf /sys/fs/bpf`")]
    NotBpf(PathBuf),
    #[error("{path} {why}: name a directory that upcall makes for itself, such as {example}", example = DEFAULT_PIN)]
    NotOurs { path: PathBuf, why: &'static str },
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
        if !is_possible(root) {
            return Err(PinError::NotBpf(root.to_owned()));
        }
        for _ in 0..TRIES {
            match DirBuilder::new().mode(0o700).create(root) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(root)(error)),
                _ => {}
            }
            if let Some(pins) = Self::open_there(root)? {
                return Ok(pins);
            }
        }
        Err(PinError::InUse(root.to_owned()))
    }

    /// The directory if it is there; `None` if it is not, or is being removed.
    pub fn open_there(root: &Path) -> Result<Option<Self>, PinError> {
        let no_link = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let dir = match File::options().read(true).custom_flags(no_link.bits()).open(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            dir => dir.map_err(at(root))?,
        };
        let held = dir.metadata().map_err(at(root))?;
        let not_ours = |why| Err(PinError::NotOurs { path: root.to_owned(), why });
        // Who can write there could put any map or program into the daemon's hands.
        if held.uid() != geteuid().as_raw() || held.mode() & 0o077 != 0 {
            return not_ours("belongs to somebody else or is open to others");
        }
        let above = fs::metadata(root.join("..")).map_err(at(root))?;
        if above.dev() != held.dev() {
            return not_ours("is where a filesystem is mounted");
        }
        let lock = Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => PinError::InUse(root.to_owned()),
            other => at(root)(other.into()),
        })?;
        // Whoever had it before may have removed it.
        match fs::symlink_metadata(root) {
            Ok(there) if there.ino() == held.ino() => Ok(Some(Self { root: root.to_owned(), _lock: lock })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(root)(error)),
        }
    }

    /// Removes all that is pinned, and so detaches it from the kernel. Returns the names of the links.
    pub fn remove(self) -> Result<Vec<String>, PinError> {
        let mut links = Vec::new();
        for set in sets(&self.root)? {
            links.extend(remove_set(&set)?);
        }
        fs::remove_dir(&self.root).map_err(|error| PinError::Io { path: self.root.clone(), error })?;
        Ok(links)
    }

    /// The set of pins for maps of these sizes, after everything that this daemon cannot take over is removed.
    pub(super) fn set(&self, sizes: Sizes) -> Result<PinSet, PinError> {
        let name = format!("{LAYOUT:016x}_{}_{}", sizes.slots, sizes.dirty_ring_bytes);
        let dir = self.root.join(name);
        for other in sets(&self.root)?.into_iter().filter(|other| *other != dir) {
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

    /// Pins links in the place of those of an earlier daemon: at no time is an inode unwatched. Returns them: what is
    /// removed from the directory while this daemon lives goes on until its end.
    pub(super) fn keep(
        &self,
        links: Vec<(&'static str, FdLink)>,
        flags: &Flags,
    ) -> Result<Vec<FdLink>, LoadError> {
        let (count, mut kept, mut held) = (links.len(), Vec::new(), Vec::new());
        for (name, link) in links {
            let place = self.dir.join(format!("{LINK}{name}"));
            let way = self.dir.join(format!("{LINK}{name}{NEW}"));
            if way.exists() {
                fs::remove_file(&way).map_err(|error| self.error(error))?;
            }
            let pinned = link.pin(&way).map_err(|error| LoadError::Pinned(error.to_string()))?;
            held.push(FdLink::from(pinned));
            fs::rename(&way, &place).map_err(|error| self.error(error))?;
            kept.push(place);
        }
        flags.set_links(count as u64);
        for old in self.links()?.into_iter().filter(|path| !kept.contains(path)) {
            fs::remove_file(&old).map_err(|error| self.error(error))?;
        }
        Ok(held)
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

/// The sets in the directory, if there is nothing else.
fn sets(root: &Path) -> Result<Vec<PathBuf>, PinError> {
    only(root, is_set)
}

fn only(dir: &Path, ours: fn(&str) -> bool) -> Result<Vec<PathBuf>, PinError> {
    let all = entries(dir)?;
    let foreign = all.iter().find(|path| !path.file_name().and_then(OsStr::to_str).is_some_and(ours));
    match foreign {
        Some(path) => Err(PinError::NotOurs { path: path.clone(), why: "is not upcall's" }),
        None => Ok(all),
    }
}

/// As [`Pins::set`] names them.
fn is_set(name: &str) -> bool {
    let is = |part: Option<&str>, digit: fn(&char) -> bool| {
        part.is_some_and(|part| !part.is_empty() && part.chars().all(|it| digit(&it)))
    };
    let mut parts = name.split('_');
    is(parts.next(), char::is_ascii_hexdigit)
        && is(parts.next(), char::is_ascii_digit)
        && is(parts.next(), char::is_ascii_digit)
        && parts.next().is_none()
}

/// Of any version of the daemon: names of maps come and go.
fn is_pin(name: &str) -> bool {
    name.starts_with(LINK) || name.chars().all(|it| it.is_ascii_uppercase() || it == '_')
}

fn at(path: &Path) -> impl Fn(io::Error) -> PinError + '_ {
    |error| PinError::Io { path: path.to_owned(), error }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(dir)(error)),
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(at(dir))).collect()
}

/// Programs first: without them nothing changes the maps.
fn remove_set(dir: &Path) -> Result<Vec<String>, PinError> {
    let mut all = only(dir, is_pin)?;
    all.sort_by_key(|path| link_name(path).is_none());
    for path in &all {
        fs::remove_file(path).map_err(at(path))?;
    }
    fs::remove_dir(dir).map_err(at(dir))?;
    Ok(all.iter().filter_map(|path| link_name(path)).map(str::to_owned).collect())
}
