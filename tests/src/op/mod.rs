//! The ways to change a file or a directory, each with the change bits that it must be told with.

mod directory;
mod file;

use std::{io, path::Path};

pub use directory::DIRECTORY;
pub use file::FILE;

/// One way to change something. Each acts on a stage that [`set`] has made.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    pub name: &'static str,
    /// What is watched, within the stage.
    pub subject: &'static str,
    /// Change bits that must be told.
    pub expected: u32,
    run: fn(&Path) -> io::Result<()>,
}

pub fn all() -> impl Iterator<Item = &'static Op> {
    FILE.iter().chain(DIRECTORY)
}

/// Does one to the stage in `dir`.
pub fn perform(name: &str, dir: &Path) -> io::Result<()> {
    let op = all().find(|op| op.name == name).ok_or(io::ErrorKind::InvalidInput)?;
    (op.run)(dir)
}

/// Makes what an operation finds: `file`, its `neighbour`, `other`, and `dir` with some entries.
pub fn set(scene: &crate::scene::Scene) -> anyhow::Result<()> {
    for name in ["file", "neighbour", "other"] {
        scene.file(name)?;
    }
    scene.dir("dir")?;
    scene.file("dir/present")?;
    scene.dir("dir/subdir")?;
    Ok(())
}

/// What source `timestamp` cannot see: filesystem and operation. Each is named in README's limits.
const UNSEEN_BY_TIMESTAMP: &[(&str, &str)] = &[("xfs", "rename_exchange")];

impl Op {
    /// Whether the source sees this one on the filesystem.
    pub fn is_seen(&self, source: &str, filesystem: &str) -> bool {
        source != "timestamp" || !UNSEEN_BY_TIMESTAMP.contains(&(filesystem, self.name))
    }
}

/// Whether a failure says that this filesystem or kernel has no such operation.
pub fn is_unsupported(errno: i32) -> bool {
    [libc::EOPNOTSUPP, libc::ENOSYS, libc::ENOTTY].contains(&errno)
}
