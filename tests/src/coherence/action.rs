//! What writers do to a stage.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    thread,
    time::Duration,
};

use fastrand::Rng;

use super::tree::{self, Tree};
use crate::op::{self, Op};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// One of the operations that the kernel tests perform.
    Op(&'static Op),
    /// Writes a file again and again, for a few ticks of the clock that stamps it.
    Burst,
    /// Makes and deletes files until inode numbers come again.
    Reuse,
    /// Writes every file of the crowd.
    Crowd,
}

/// These set up more than a file to be changed (a mount, a FUSE or NFS server, swap space) and take longer than all the
/// others together, or leave a file that cannot be written any more.
const NOT_HERE: [&str; 10] = [
    "overlay_watched",
    "overlay_upper_watched",
    "overlay_copied_up",
    "bind_mount",
    "mount_namespace",
    "fuse_backing_watched",
    "fuse_watched",
    "nfsd_write",
    "swap",
    "verity",
];

/// In an order that is the same in every process.
pub(crate) fn all() -> Vec<Action> {
    let ops = op::all().filter(|op| !NOT_HERE.contains(&op.name)).map(Action::Op);
    ops.chain([Action::Burst, Action::Reuse, Action::Crowd]).collect()
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Op(op) => op.name,
            Self::Burst => "burst",
            Self::Reuse => "reuse",
            Self::Crowd => "crowd",
        }
    }

    /// Whether nobody else may write to the stage: a file that somebody makes shorter must not be mapped, nor be a
    /// block device.
    pub(crate) fn is_alone(self) -> bool {
        self.name().starts_with("mapped_") || self.name() == "loop_write"
    }

    /// Leaves nothing open or mapped.
    pub(crate) fn perform(self, tree: &Tree, stage: usize, rng: &mut Rng) -> io::Result<()> {
        let dir = tree.stage(stage);
        match self {
            Self::Op(op) => {
                tree::repair(&dir, rng)?;
                op.prepare(&dir)?()
            }
            Self::Burst => {
                tree::repair(&dir, rng)?;
                burst(&dir, rng)
            }
            Self::Reuse => {
                tree::repair(&dir, rng)?;
                reuse(&dir, rng)
            }
            Self::Crowd => tree.write_crowd(stage, rng),
        }
    }
}

fn burst(dir: &Path, rng: &mut Rng) -> io::Result<()> {
    const TIMES: usize = 30;
    const PAUSE: Duration = Duration::from_micros(200);
    let file = File::options().write(true).open(dir.join("file"))?;
    for _ in 0..TIMES {
        file.write_all_at(&rng.u64(..).to_le_bytes(), 0)?;
        thread::sleep(PAUSE.mul_f64(rng.f64()));
    }
    Ok(())
}

fn reuse(dir: &Path, rng: &mut Rng) -> io::Result<()> {
    const TIMES: usize = 20;
    for _ in 0..TIMES {
        for name in ["other", "dir/present"] {
            let path = dir.join(name);
            fs::remove_file(&path)?;
            fs::write(&path, rng.u64(..).to_le_bytes())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_exists() {
        assert!(NOT_HERE.iter().all(|name| op::find(name).is_some()));
    }
}
