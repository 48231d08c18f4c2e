//! Distinct files changed as fast as possible: how many upcalls one client gets in a second.

use std::{
    collections::HashSet,
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tests::{daemon::Daemon, deadline::patience};

use crate::{
    arena::{self, Arena},
    library::{self, Library},
    peers::{INOTIFY, Reader},
    report::{Figure, Target},
    scale::Scale,
};

/// Fewer than inotify's queue holds by default.
const FILES: usize = 10_000;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let paths = arena::files(&arena.tmpfs, "throughput", FILES)?;
    let open = |path: &PathBuf| File::options().write(true).open(path);
    let files = paths.iter().map(open).collect::<std::io::Result<Vec<_>>>()?;
    for (name, tcp) in [("Unix", false), ("TCP", true)] {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            ours.push(upcalls(arena, &paths, &files, tcp)?);
            peer.push(events(&paths, &files)?);
        }
        let target = Target::RatioAtLeast(1.0);
        Figure::paired(format!("throughput, {name}"), "upcalls/s", &ours, (INOTIFY, &peer), target)
            .print()?;
    }
    Ok(())
}

fn upcalls(arena: &Arena, paths: &[PathBuf], files: &[File], tcp: bool) -> Result<f64> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let address = if tcp { daemon.tcp() } else { daemon.unix() };
    let (done, heard) = mpsc::channel();
    // A file may be told of twice before the last is told once.
    let mut missing: HashSet<u64> = (0..files.len() as u64).collect();
    let client = Library::start(&address, library::watches(paths), move |now, cookie| {
        if missing.remove(&cookie) && missing.is_empty() {
            let _ = done.send(now);
        }
    })?;
    let rate = rate(files, &heard)?;
    drop(client);
    Ok(rate)
}

fn events(paths: &[PathBuf], files: &[File]) -> Result<f64> {
    let (done, heard) = mpsc::channel();
    let mut missing = files.len();
    let reader = Reader::inotify(paths, move |now, count| {
        missing = missing.saturating_sub(count);
        if missing == 0 {
            let _ = done.send(now);
        }
    })?;
    let rate = rate(files, &heard)?;
    drop(reader);
    Ok(rate)
}

/// Writes each file once and waits until all have been heard of.
fn rate(files: &[File], heard: &Receiver<Instant>) -> Result<f64> {
    // The trailing edge of a registration is over, and nothing is told but the changes to come.
    std::thread::sleep(Duration::from_millis(30));
    let start = Instant::now();
    files.iter().try_for_each(|file| file.write_at(&[1; 64], 0).map(drop))?;
    let end = heard.recv_timeout(patience()).context("not every file was told of")?;
    Ok(files.len() as f64 / (end - start).as_secs_f64())
}
