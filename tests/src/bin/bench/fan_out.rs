//! One change, many clients: the time until the last of them has heard of it.

use std::{
    fs::File,
    io::Write,
    os::unix::{fs::FileExt, net::UnixStream},
    thread,
    time::Instant,
};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit};
use tests::daemon::Daemon;

use crate::{
    Scale,
    arena::{self, Arena},
    crowd::Crowd,
    report::{Figure, Target, curve},
    stats::median,
};

/// As many as an upcall with attributes has.
const FRAME_BYTES: usize = 96;

/// A client's here: its own socket, and a pair of the peer's.
const DESCRIPTORS: u64 = 3;
const SPARE: u64 = 1000;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let most = scale.clients.iter().max().copied().unwrap_or_default();
    let files = arena::files(&arena.tmpfs, "fan-out", scale.clients.len())?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    for (&count, path) in scale.clients.iter().zip(&files) {
        if descriptors < count as u64 * DESCRIPTORS + SPARE {
            eprintln!("bench: fan-out to {count} clients: skipped: {descriptors} open files are too few");
            continue;
        }
        // One by one, so that no more clients than these weigh upon the daemon.
        let daemon = Daemon::start(&arena.exports(), &format!("clients = {}", most + 1))?;
        let file = File::options().write(true).open(path)?;
        let mut clients = Crowd::of_clients(&daemon.socket(), path, count)?;
        clients.settle()?;
        let (mut writers, readers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| UnixStream::pair()).collect::<std::io::Result<Vec<_>>>()?.into_iter().unzip();
        let mut readers = Crowd::of(readers)?;
        let (mut took, mut took_bare) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            let start = Instant::now();
            file.write_at(&[1; 64], 0)?;
            took.push((clients.all_heard()? - start).as_secs_f64() * 1e6);
            clients.settle()?;
            took_bare.push(sends(&mut writers, &mut readers)?);
        }
        let (us, peer) = (median(&took), median(&took_bare));
        ours.push((count as f64, us));
        bare.push((count as f64, peer));
        let name = format!("fan-out to {count} clients");
        let figure = Figure::beside(name, "us", us, ("bare sends", peer), Target::RatioAtMost(1.5));
        figure.print()?;
    }
    curve("fan-out", "upcall", &ours)?;
    Ok(curve("fan-out", "bare sends", &bare)?)
}

/// A loop of sends in one thread, read as upcalls are in another.
fn sends(writers: &mut [UnixStream], readers: &mut Crowd) -> Result<f64> {
    thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let start = Instant::now();
            writers.iter_mut().try_for_each(|socket| socket.write_all(&[0; FRAME_BYTES])).map(|()| start)
        });
        let end = readers.all_heard()?;
        let start = sender.join().ok().context("the sender panicked")??;
        Ok((end - start).as_secs_f64() * 1e6)
    })
}
