//! Changes that come through another mount.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use upcall_common::change::DATA;

use super::{Change, Op, at, file, prepared, stage};

pub(super) const OPS: &[Op] = &[
    prepared("overlay_watched", &[at("merged/own", DATA)], through_overlay).refused_with(NO_UPPER),
    prepared("overlay_upper_watched", &[at("upper/own", DATA)], through_overlay).refused_with(NO_UPPER),
    prepared("overlay_copied_up", &[at("merged/lower", DATA)], |dir| {
        let mount = Mount::overlay(dir)?;
        Ok(Box::new(move || write(&mount.0.join("lower"))))
    })
    .refused_with(NO_UPPER),
    prepared("bind_mount", &[file(DATA)], |dir| {
        let bound = Mount::at(dir.join("dir2"), |at| {
            mount(Some(dir), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        })?;
        Ok(Box::new(move || write(&bound.0.join("file"))))
    }),
    prepared("mount_namespace", &[file(DATA)], |dir| {
        let file = stage::file(dir);
        Ok(Box::new(move || {
            thread::scope(|scope| {
                // A thread may have a mount namespace of its own, but not together with another's directories.
                let writer = scope.spawn(|| {
                    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
                    write(&file)
                });
                writer.join().map_err(|_| io::Error::other("the writer has panicked"))?
            })
        }))
    }),
];

/// The kernel has no overlayfs, or none whose upper layer may be on this filesystem.
const NO_UPPER: &[i32] = &[libc::ENODEV, libc::EINVAL];

/// A write through an overlay whose upper layer has the file.
fn through_overlay(dir: &Path) -> io::Result<Change> {
    let mount = Mount::overlay(dir)?;
    Ok(Box::new(move || write(&mount.0.join("own"))))
}

fn write(path: &Path) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all_at(b"written", 0)
}

/// Something mounted; unmounted when dropped.
pub(super) struct Mount(PathBuf);

impl Mount {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn at(at: PathBuf, mount: impl FnOnce(&Path) -> nix::Result<()>) -> io::Result<Self> {
        mount(&at)?;
        Ok(Self(at))
    }

    /// An overlay at `merged`, with `own` in its upper layer and `lower` in its lower one.
    fn overlay(dir: &Path) -> io::Result<Self> {
        for layer in ["lower", "upper", "work", "merged"] {
            fs::create_dir(dir.join(layer))?;
        }
        fs::write(dir.join("lower/lower"), [b'l'; 8192])?;
        fs::write(dir.join("upper/own"), [b'u'; 8192])?;
        let layer = |name: &str| dir.join(name).display().to_string();
        let options =
            format!("lowerdir={},upperdir={},workdir={}", layer("lower"), layer("upper"), layer("work"));
        Self::at(dir.join("merged"), |at| {
            mount(Some("overlay"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached, for whoever still has files open; there is nobody to tell of a failure.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
