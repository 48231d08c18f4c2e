//! Filesystems to test on.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

use crate::{daemon::Daemon, deadline::in_vm};

pub const NAMES: [&str; 5] = ["ext4", "xfs", "btrfs", "tmpfs", "overlayfs"];

/// The least that mkfs.btrfs and mkfs.xfs take, with room to spare.
const IMAGE_BYTES: u64 = 512 << 20;

/// A daemon that is started when it is first wanted.
type Shared = Mutex<Option<Arc<Daemon>>>;

/// One mounted filesystem, with daemons that export it.
#[derive(Debug)]
pub struct Filesystem {
    pub name: &'static str,
    pub root: PathBuf,
    everywhere: Arc<Everywhere>,
}

/// Daemons that export all filesystems: each one more slows every change, and takes long to start where all is emulated.
#[derive(Debug)]
struct Everywhere {
    roots: Vec<PathBuf>,
    daemon: Shared,
    holding: Shared,
}

/// All that could be had. Unmounted when dropped.
#[derive(Debug)]
pub struct Filesystems {
    /// Those that could not be had, with the reason.
    pub all: Vec<(&'static str, Result<Arc<Filesystem>, String>)>,
    mounts: Option<TempDir>,
}

impl Filesystem {
    /// The daemon that tests share which want nothing special of theirs.
    pub fn daemon(&self) -> Result<Arc<Daemon>> {
        self.share(&self.everywhere.daemon, |roots| Daemon::start(roots, ""))
    }

    /// The one that tests share of what is held for clients; `start` is told what to export.
    pub fn holding(&self, start: impl FnOnce(&[&Path]) -> Result<Daemon>) -> Result<Arc<Daemon>> {
        self.share(&self.everywhere.holding, start)
    }

    fn share(&self, shared: &Shared, start: impl FnOnce(&[&Path]) -> Result<Daemon>) -> Result<Arc<Daemon>> {
        let roots: Vec<_> = self.everywhere.roots.iter().map(PathBuf::as_path).collect();
        let mut daemon = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &*daemon {
            Some(daemon) => Ok(Arc::clone(daemon)),
            None => Ok(Arc::clone(daemon.insert(Arc::new(start(&roots)?)))),
        }
    }
}

impl Filesystems {
    /// Those named in `UPCALL_TEST_FS`, or new ones in files. The mounts are this process's and its children's
    /// alone, so that nothing stays mounted however it ends. Call it before there are threads.
    pub fn get() -> Result<Self> {
        if in_vm() { Self::given() } else { Self::make() }
    }

    /// A list of the names only.
    pub fn none(reason: &str) -> Self {
        Self { all: NAMES.map(|name| (name, Err(reason.to_owned()))).into(), mounts: None }
    }

    fn given() -> Result<Self> {
        let given = std::env::var("UPCALL_TEST_FS")?;
        let all = NAMES.map(|name| {
            let root = given.split(',').filter_map(|it| it.split_once('=')).find(|(of, _)| *of == name);
            let root = root.ok_or_else(|| String::from("not named in UPCALL_TEST_FS"));
            (name, root.map(|(_, root)| root.into()))
        });
        Ok(Self::at(all, None))
    }

    fn make() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("cannot get a mount namespace")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .context("cannot make the mounts private")?;
        let dir = public_dir("upcall-tests-")?;
        let all = NAMES.map(|name| (name, make(name, dir.path()).map_err(|error| format!("{error:#}"))));
        Ok(Self::at(all, Some(dir)))
    }

    fn at(roots: [(&'static str, Result<PathBuf, String>); NAMES.len()], mounts: Option<TempDir>) -> Self {
        let there = roots.iter().filter_map(|(_, root)| root.as_ref().ok().cloned()).collect();
        let (daemon, holding) = (Mutex::default(), Mutex::default());
        let everywhere = Arc::new(Everywhere { roots: there, daemon, holding });
        let filesystem =
            |name, root| Arc::new(Filesystem { name, root, everywhere: Arc::clone(&everywhere) });
        let all = roots.map(|(name, root)| (name, root.map(|root| filesystem(name, root))));
        Self { all: all.into(), mounts }
    }
}

impl Drop for Filesystems {
    fn drop(&mut self) {
        let Some(dir) = &self.mounts else { return };
        // What could not be mounted is none to unmount. Detached, for whoever still has files open.
        for (name, _) in self.all.iter().rev() {
            for path in [dir.path().join(name), layers(dir.path(), name)] {
                let _ = umount2(&path, MntFlags::MNT_DETACH);
            }
        }
    }
}

pub(crate) fn public_dir(prefix: &str) -> Result<TempDir> {
    let dir = tempfile::Builder::new().prefix(prefix).tempdir()?;
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(dir)
}

/// Makes one in `dir` and mounts it there.
pub(crate) fn make(name: &str, dir: &Path) -> Result<PathBuf> {
    let root = dir.join(name);
    fs::create_dir(&root)?;
    match name {
        "tmpfs" => mount_tmpfs(&root)?,
        "overlayfs" => overlay(&root, &layers(dir, name))?,
        _ => image(name, &root)?,
    }
    Ok(root)
}

/// An overlay whose layers are on a filesystem of their own.
fn overlay(root: &Path, layers: &Path) -> Result<()> {
    fs::create_dir(layers)?;
    image("xfs", layers)?;
    ["lower", "upper", "work"].iter().try_for_each(|layer| fs::create_dir(layers.join(layer)))?;
    mount_overlay(root, layers)
}

fn mount_overlay(root: &Path, layers: &Path) -> Result<()> {
    let [lower, upper, work] = ["lower", "upper", "work"].map(|layer| layers.join(layer));
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    Ok(mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?)
}

/// Mounts once more what [`make`] has made in `dir`; a tmpfs is a new one.
pub(crate) fn mount_again(name: &str, dir: &Path) -> Result<()> {
    let root = dir.join(name);
    match name {
        "tmpfs" => mount_tmpfs(&root),
        "overlayfs" => mount_overlay(&root, &layers(dir, name)),
        _ => mount_image(name, &root),
    }
}

fn mount_tmpfs(root: &Path) -> Result<()> {
    Ok(mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?)
}

pub(crate) fn layers(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.layers"))
}

/// What makes a filesystem have more than it has by itself, for kernels that know of it.
fn features(name: &str) -> &'static [&'static str] {
    match name {
        // fs-verity needs blocks as large as pages on older kernels.
        "ext4" => &["-b", "4096", "-O", "verity,project"],
        _ => &[],
    }
}

/// A filesystem in a file beside where it is mounted.
fn image(name: &str, root: &Path) -> Result<()> {
    let image = image_of(root);
    File::create_new(&image)?.set_len(IMAGE_BYTES)?;
    let force = if name == "ext4" { "-F" } else { "-f" };
    let make = |features: &[&str]| {
        run(Command::new(format!("mkfs.{name}")).arg(force).args(features).arg(&image))?;
        mount_image(name, root)
    };
    let features = features(name);
    match make(features) {
        Err(_) if !features.is_empty() => make(&[]),
        done => done,
    }
}

fn image_of(root: &Path) -> PathBuf {
    root.with_added_extension("image")
}

fn mount_image(name: &str, root: &Path) -> Result<()> {
    run(Command::new("mount").args(["-o", "loop", "-t", name]).arg(image_of(root)).arg(root))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {}", program.display(), error.trim_end());
    Ok(())
}
