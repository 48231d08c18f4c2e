//! A million interests on as many files: the time to make them, the memory they take, and what a write of
//! another file costs meanwhile.

use std::{fs::File, path::PathBuf};

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use crate::{
    Scale,
    arena::{self, Arena},
    cost::per_write,
    library::{self, Library},
    memory,
    peers::{allow, watch_all},
    report::{Figure, Target, curve},
};

const TEN: usize = 10;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let paths = arena::files(&arena.ext4, "million", scale.interests)?;
    let others = [("ext4", &arena.ext4), ("tmpfs", &arena.tmpfs)];
    let files = others.map(|(name, root)| {
        let path = arena::files(root, "million-unwatched", 1)?.pop().context("no file")?;
        Ok::<_, anyhow::Error>((name, File::options().write(true).open(path)?))
    });
    let files = files.into_iter().collect::<Result<Vec<_>>>()?;
    let writes = || -> Result<Vec<f64>> {
        files.iter().map(|(_, file)| per_write(file, scale.batches * scale.rounds, scale.batch)).collect()
    };
    few(arena, paths.get(..TEN).unwrap_or_default())?;
    let inotify = inotify(&paths)?;

    let before = writes()?;
    let slabs = memory::slabs()?;
    let settings = format!("slots = {}", paths.len() + 1);
    let daemon = Daemon::start(&arena.exports(), &settings)?;
    let client = Library::start(&daemon.unix(), library::watches(&paths), |_, _| ())?;
    let count = paths.len();
    // Targets are for a million: of fewer interests, the daemon's own size weighs too much.
    let at_most = |most| if count >= 1_000_000 { Target::AtMost(most) } else { Target::None };
    let name = format!("registration of {count} interests by path");
    Figure::alone(name, "s", client.took.as_secs_f64(), at_most(10.0)).print()?;

    let (cached, kept) = {
        let cached = memory::inodes()?;
        memory::drop_caches()?;
        (cached, memory::inodes()?)
    };
    let name = "inodes in memory while watched, after drop_caches";
    let peer = ("before", cached as f64);
    Figure::beside(name, "", kept as f64, peer, Target::RatioAtMost(0.1)).print()?;
    let (own, maps) = memory::of_daemon(daemon.pid())?;
    let held = own + maps + memory::slabs()?.saturating_sub(slabs);
    let name = format!("memory of an interest, of {count}");
    let peer = ("inotify", inotify);
    Figure::beside(name, "B", held as f64 / count as f64, peer, at_most(300.0)).print()?;

    let during = writes()?;
    drop(client);
    drop(daemon);
    let after = writes()?;
    for (((name, _), during), (before, after)) in files.iter().zip(during).zip(before.iter().zip(after)) {
        let none = f64::midpoint(*before, after);
        let figure = format!("write on {name}, unwatched, {count} other interests");
        Figure::beside(figure, "ns", during, ("no daemon", none), Target::RatioAtMost(1.03)).print()?;
        curve("cost", &format!("{name}, no daemon"), &[(1.0, none), (count as f64 + 1.0, none)])?;
        curve("cost", name, &[(count as f64 + 1.0, during)])?;
    }
    Ok(())
}

/// A small daemon.
fn few(arena: &Arena, paths: &[PathBuf]) -> Result<()> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let _client = Library::start(&daemon.unix(), library::watches(paths), |_, _| ())?;
    let (own, maps) = memory::of_daemon(daemon.pid())?;
    let name = format!("daemon and maps with {} interests", paths.len());
    Ok(Figure::alone(name, "MB", (own + maps) as f64 / 1e6, Target::AtMost(40.0)).print()?)
}

/// Bytes that a watch takes of the kernel, with the inode and the dentry that it keeps in memory.
fn inotify(paths: &[PathBuf]) -> Result<f64> {
    let _allowed = allow(paths.len())?;
    let before = memory::slabs()?;
    let _watches = watch_all(paths)?;
    Ok(memory::slabs()?.saturating_sub(before) as f64 / paths.len() as f64)
}
