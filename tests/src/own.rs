//! A filesystem of one test's own, which may be unmounted.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Result;
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};
use tempfile::TempDir;

use crate::{deadline::wait_for, filesystem};

/// Unmounted when dropped.
#[derive(Debug)]
pub struct Own {
    name: &'static str,
    dir: TempDir,
}

impl Own {
    /// `None`: this machine cannot make one.
    pub fn make(name: &'static str) -> Result<Option<Self>> {
        let own = Self { name, dir: filesystem::public_dir("upcall-own-")? };
        match filesystem::make(name, own.dir.path()) {
            Ok(_) => Ok(Some(own)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join(self.name)
    }

    /// The directory that it is mounted in, which is none of its own.
    pub fn above(&self) -> &Path {
        self.dir.path()
    }

    /// By a plain umount(2). Whoever looks at it at this very moment may make it busy.
    pub fn unmount(&self) -> Result<()> {
        wait_for("the filesystem not to be busy", || match umount2(&self.root(), MntFlags::empty()) {
            Err(Errno::EBUSY) => Ok(None),
            done => Ok(Some(done?)),
        })
    }

    /// Again; a tmpfs is a new one.
    pub fn mount(&self) -> Result<()> {
        filesystem::mount_again(self.name, self.dir.path())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may be unmounted already, and few have layers.
        for path in [self.root(), filesystem::layers(self.dir.path(), self.name)] {
            let _ = umount2(&path, MntFlags::MNT_DETACH);
        }
    }
}

/// The virtual machine has no programs that make filesystems.
fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}
