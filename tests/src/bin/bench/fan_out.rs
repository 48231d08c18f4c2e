//! One change, many clients: the time until the last of them has heard of it.

use std::{fs::File, os::unix::fs::FileExt, time::Instant};

use anyhow::Result;
use tests::daemon::Daemon;

use crate::{
    arena::{self, Arena},
    crowd::Crowd,
    descriptors,
    report::{self, Figure, Target, curve},
    scale::Scale,
    sends::Sends,
    stats::median,
};

const PEER: &str = "bare sends";

/// Places for connections that look whether the daemon is ready.
pub const SPARE: usize = 10;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let (counts, why) = descriptors::clients(scale.clients)?;
    if let Some(why) = why {
        report::skipped("fan-out", &why)?;
    }
    let files = arena::files(&arena.tmpfs, "fan-out", counts.len())?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for (&count, path) in counts.iter().zip(&files) {
        // One by one, so that no more clients than these weigh upon the daemon.
        let daemon = Daemon::start(&arena.exports(), &format!("clients = {}", count + SPARE))?;
        let file = File::options().write(true).open(path)?;
        let sends = Sends::over(count)?;
        let mut clients = Crowd::of_clients(&daemon.socket(), path, count)?;
        clients.settle()?;
        let (mut took, mut took_bare) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            let start = Instant::now();
            file.write_at(&[1; 64], 0)?;
            took.push((clients.all_heard()? - start).as_secs_f64() * 1e6);
            clients.settle()?;
            took_bare.push(sends.round()?);
        }
        ours.push((count as f64, median(&took)));
        bare.push((count as f64, median(&took_bare)));
        let name = format!("fan-out to {count} clients");
        Figure::paired(name, "us", &took, (PEER, &took_bare), Target::RatioAtMost(1.5)).print()?;
    }
    curve("fan-out", "upcall", &ours)?;
    Ok(curve("fan-out", PEER, &bare)?)
}
