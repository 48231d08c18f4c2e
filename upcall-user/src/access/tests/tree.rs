//! A temporary tree, users who exist only by number, and shorthands.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{geteuid, mkdtemp};

pub(in crate::access) use crate::sys::testing::{needs_root, skipped};

use crate::access::{AccessError, Exports, Principal, Resolved, Target, resolve};

/// A directory that anybody may search; removed in the end, with what is mounted on it.
pub(in crate::access) struct Tree {
    root: PathBuf,
    mounted: Vec<PathBuf>,
}

impl Tree {
    pub(in crate::access) fn new() -> Self {
        let root = mkdtemp(&std::env::temp_dir().join("upcall-access-XXXXXX")).unwrap();
        let root = fs::canonicalize(root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, mounted: Vec::new() }
    }

    pub(in crate::access) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(in crate::access) fn dir(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub(in crate::access) fn file(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    pub(in crate::access) fn tmpfs(&mut self, name: &str) -> PathBuf {
        let path = self.dir(name, 0o755);
        self.mount(&path);
        path
    }

    /// A new tmpfs.
    pub(in crate::access) fn mount(&mut self, path: &Path) {
        mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=1m")).unwrap();
        self.mounted.push(path.to_owned());
    }

    /// Mounts the image of an ext4 filesystem, which is made first if need be. `None` where that cannot be done.
    pub(in crate::access) fn ext4(&mut self, image: &Path, name: &str) -> Option<PathBuf> {
        let path = self.dir(name, 0o755);
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        if !image.exists() {
            fs::File::create(image).unwrap().set_len(8 << 20).unwrap();
            done(Command::new("mkfs.ext4").arg("-q").arg(image)).then_some(())?;
        }
        self.mount_image(image, &path)?;
        Some(path)
    }

    pub(in crate::access) fn mount_image(&mut self, image: &Path, path: &Path) -> Option<()> {
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(image).arg(path).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| self.mounted.push(path.to_owned()))
    }

    pub(in crate::access) fn unmount(&mut self, path: &Path) {
        // A child that another test is about to start holds every descriptor for a moment.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(error) = umount2(path, MntFlags::empty()) {
            assert!(error == Errno::EBUSY && Instant::now() < patience, "{error}");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.mounted.retain(|mounted| mounted != path);
    }

    pub(in crate::access) fn bind(&mut self, from: &Path, name: &str) -> PathBuf {
        let path = self.dir(name, 0o755);
        mount(Some(from), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        self.mounted.push(path.clone());
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            umount2(path, MntFlags::MNT_DETACH).unwrap();
        }
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// The user that runs the tests: an operator.
pub(in crate::access) fn operator() -> Principal {
    Principal { uid: geteuid().as_raw(), gid: nix::unistd::getegid().as_raw(), groups: Vec::new() }
}

/// A user without a name.
pub(in crate::access) fn user(uid: u32) -> Principal {
    Principal { uid, gid: uid, groups: Vec::new() }
}

pub(in crate::access) const SOMEBODY: u32 = 54_321;

pub(in crate::access) fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
}

pub(in crate::access) fn export(paths: &[&Path]) -> Exports {
    Exports::open(&paths.iter().map(|path| path.to_path_buf().into()).collect::<Vec<_>>()).unwrap()
}

pub(in crate::access) fn by_path(
    exports: &Exports,
    principal: &Principal,
    path: impl AsRef<Path>,
) -> Result<Resolved, AccessError> {
    resolve(exports, principal, &Target::Path(path.as_ref().to_owned()))
}

/// The variant's name: what a test compares.
pub(in crate::access) fn outcome(result: Result<Resolved, AccessError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                AccessError::NotExported(_) => "not exported",
                AccessError::NotPermitted(_) => "not permitted",
                AccessError::NotFound(_) => "not found",
                AccessError::StaleHandle(_) => "stale handle",
                AccessError::BadTarget(_) => "bad target",
                AccessError::BadName(_) => "bad name",
                AccessError::Unsupported(_) => "unsupported",
                AccessError::Exhausted(tried) => panic!("{tried}: no descriptors"),
                AccessError::Internal { tried, source } => panic!("{tried}: {source}"),
            }
        }
    }
}
