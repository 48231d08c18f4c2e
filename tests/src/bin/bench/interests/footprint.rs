//! What watched files take of memory.

use anyhow::Result;
use tests::daemon::Daemon;

use crate::{
    memory,
    peers::INOTIFY,
    report::{Figure, Target},
};

#[derive(Debug)]
pub(super) struct Footprint {
    /// Inodes in memory, before what can be read again was forgotten, and after.
    inodes: (u64, u64),
    /// The daemon's own, its maps, and what the kernel's slabs have grown by meanwhile.
    bytes: [u64; 3],
}

impl Footprint {
    /// The daemon's own, its maps, and what the kernel holds in slabs beyond what it held `before` there was a daemon.
    pub(super) fn of(daemon: &Daemon, before: u64) -> Result<Self> {
        let cached = memory::inodes()?;
        memory::drop_caches()?;
        let inodes = (cached, memory::inodes()?);
        let (own, maps) = memory::of_daemon(daemon.pid())?;
        Ok(Self { inodes, bytes: [own, maps, memory::slabs()?.saturating_sub(before)] })
    }

    pub(super) fn tell_inodes(&self, target: Target) -> Result<()> {
        let name = "inodes in memory while watched, after drop_caches";
        let (cached, kept) = self.inodes;
        Ok(Figure::beside(name, "", kept as f64, ("before", cached as f64), target).print()?)
    }

    /// Beside `watch` bytes of an inotify watch.
    pub(super) fn tell_bytes(&self, count: usize, watch: f64, target: Target) -> Result<()> {
        let each = |bytes: u64| bytes as f64 / count as f64;
        let name = format!("memory of an interest, of {count}");
        Figure::beside(name.clone(), "B", each(self.bytes.iter().sum()), (INOTIFY, watch), target).print()?;
        for (part, bytes) in ["daemon", "its maps", "slabs of the kernel"].into_iter().zip(self.bytes) {
            Figure::alone(format!("{name}: {part}"), "B", each(bytes), Target::None).print()?;
        }
        Ok(())
    }
}
