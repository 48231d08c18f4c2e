//! Filesystems and files to measure on.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;
use tests::deadline::in_vm;

/// Sparse: as much is taken as is written.
const IMAGE_BYTES: u64 = 8 << 30;
const INODES: &str = "1200000";
const FILES_PER_DIRECTORY: usize = 1000;

#[derive(Debug)]
pub struct Arena {
    pub ext4: PathBuf,
    pub tmpfs: PathBuf,
    /// For a peer that marks whole filesystems: what happens here does not concern the others.
    pub aside: PathBuf,
    dir: TempDir,
    mounted: Vec<PathBuf>,
}

impl Arena {
    /// Seen by this process and its children alone. Call it before there are threads.
    pub fn make() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS).context("cannot get a mount namespace")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("private mounts")?;
        // In memory, so that no disk is measured.
        let dir = tempfile::Builder::new().prefix("upcall-bench-").tempdir_in("/dev/shm")?;
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755))?;
        let at = |name: &str| dir.path().join(name);
        let ext4 = given("ext4").unwrap_or_else(|| at("ext4"));
        let (tmpfs, aside) = (at("tmpfs"), at("aside"));
        let mut arena = Self { ext4, tmpfs, aside, dir, mounted: Vec::new() };
        if !in_vm() {
            arena.mount_ext4()?;
        }
        for path in [arena.tmpfs.clone(), arena.aside.clone()] {
            fs::create_dir(&path)?;
            mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
            arena.mounted.push(path);
        }
        Ok(arena)
    }

    fn mount_ext4(&mut self) -> Result<()> {
        let image = self.dir.path().join("image");
        File::create_new(&image)?.set_len(IMAGE_BYTES)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-N", INODES]).arg(&image))?;
        fs::create_dir(&self.ext4)?;
        run(Command::new("mount").args(["-o", "loop", "-t", "ext4"]).arg(&image).arg(&self.ext4))?;
        self.mounted.push(self.ext4.clone());
        // The loop device keeps it: gigabytes of memory that must not outlive a run that is cut short.
        fs::remove_file(&image).context("cannot remove the image")?;
        Ok(())
    }

    /// What writes are measured on.
    pub fn filesystems(&self) -> [(&'static str, &Path); 2] {
        [("ext4", &self.ext4), ("tmpfs", &self.tmpfs)]
    }

    pub fn exports(&self) -> [&Path; 2] {
        [&self.ext4, &self.tmpfs]
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        for path in self.mounted.iter().rev() {
            // Detached, for whoever still has files open; the namespace ends with the process anyway.
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
}

/// In the machine the disks are mounted already.
fn given(name: &str) -> Option<PathBuf> {
    let given = std::env::var("UPCALL_TEST_FS").ok()?;
    given.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('=').map(PathBuf::from))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// New files of 64 bytes, in directories of their own.
pub fn files(root: &Path, name: &str, count: usize) -> Result<Vec<PathBuf>> {
    filled(root, name, count, &[0; 64])
}

/// New files that nobody writes, in as many directories.
pub fn empty(root: &Path, name: &str, count: usize) -> Result<Vec<PathBuf>> {
    filled(root, name, count, &[])
}

fn filled(root: &Path, name: &str, count: usize, content: &[u8]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::with_capacity(count);
    for number in 0..count {
        let directory = root.join(format!("{name}-{}", number / FILES_PER_DIRECTORY));
        if number % FILES_PER_DIRECTORY == 0 {
            fs::create_dir(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let file = directory.join(number.to_string());
        fs::write(&file, content)?;
        files.push(file);
    }
    Ok(files)
}
