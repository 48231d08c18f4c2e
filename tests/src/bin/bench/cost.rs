//! What a write of 64 bytes costs, with nobody and with somebody looking on.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use tests::daemon::Daemon;

use crate::{
    Scale,
    arena::{self, Arena},
    crowd::Crowd,
    library::{self, Library},
    peers::Reader,
    pin,
    report::{Figure, Target, curve},
    stats::{median, paired_ratio},
};

const OTHERS: usize = 1000;

/// What is measured in each round; the first two are the same, and their difference is noise.
const STATES: [&str; 8] = [
    "no daemon",
    "no daemon again",
    "unwatched, no interests",
    "unwatched, 1,000 other interests",
    "watched by 1 client",
    "watched by 100 clients",
    INOTIFY,
    FANOTIFY,
];
const INOTIFY: &str = "inotify";
const FANOTIFY: &str = "fanotify";

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    for (name, root) in [("ext4", &arena.ext4), ("tmpfs", &arena.tmpfs)] {
        let bench = Bench::new(root, scale)?;
        let mut all = vec![Vec::new(); STATES.len()];
        let mut source = String::new();
        for _ in 0..scale.rounds {
            source = bench.round(arena, &mut all)?;
        }
        tell(name, &source, &all)?;
    }
    Ok(())
}

struct Bench<'a> {
    path: PathBuf,
    file: File,
    others: Vec<PathBuf>,
    scale: &'a Scale,
}

impl<'a> Bench<'a> {
    fn new(root: &Path, scale: &'a Scale) -> Result<Self> {
        let path = arena::files(root, "cost", 1)?.pop().context("no file")?;
        let file = File::options().write(true).open(&path)?;
        Ok(Self { path, file, others: arena::files(root, "cost-others", OTHERS)?, scale })
    }

    /// One value for each state; returns the daemon's source.
    fn round(&self, arena: &Arena, all: &mut [Vec<f64>]) -> Result<String> {
        let mut values = all.iter_mut();
        let mut measure = || -> Result<()> {
            values.next().context("more values than states")?.push(self.batches()?);
            Ok(())
        };
        let _others = pin::others()?;
        measure()?;
        measure()?;
        let daemon = Daemon::start(&arena.exports(), "")?;
        let source = daemon.status()?["source"].as_str().unwrap_or_default().to_owned();
        measure()?;
        let interests = Library::start(&daemon.unix(), library::watches(&self.others), |_, _| ())?;
        measure()?;
        drop(interests);
        for clients in [1, 100] {
            let _drain = Crowd::of_clients(&daemon.socket(), &self.path, clients)?.drain();
            measure()?;
        }
        drop(daemon);
        let reader = Reader::inotify(std::slice::from_ref(&self.path), |_, _| ())?;
        measure()?;
        drop(reader);
        let reader = Reader::fanotify(&self.path, |_, _| ())?;
        measure()?;
        drop(reader);
        Ok(source)
    }

    fn batches(&self) -> Result<f64> {
        per_write(&self.file, self.scale.batches, self.scale.batch)
    }
}

/// Nanoseconds of the thread's own processor time, so that what else the machine does is left out: the median
/// of the means of batches, each longer than a tick of the clock.
pub fn per_write(file: &File, batches: u32, batch: u32) -> Result<f64> {
    let _pinned = pin::writer()?;
    let mut means = Vec::new();
    for _ in 0..batches {
        let start = used()?;
        for _ in 0..batch {
            file.write_at(&[1; 64], 0)?;
        }
        means.push((used()? - start).as_secs_f64() * 1e9 / f64::from(batch));
    }
    Ok(median(&means))
}

fn used() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn tell(filesystem: &str, source: &str, all: &[Vec<f64>]) -> Result<()> {
    let of = |state: &str| {
        let place = STATES.iter().position(|it| *it == state);
        place.and_then(|place| all.get(place)).context("no such state")
    };
    let none = of("no daemon")?;
    for (state, values) in STATES.into_iter().zip(all).skip(1) {
        // Trampolines cost something wherever they are; tracepoints of timestamps do not.
        let ours = state.starts_with("unwatched") || state.starts_with("watched");
        let target = if ours && source == "timestamp" { Target::RatioAtMost(1.03) } else { Target::None };
        let peer = ("no daemon", median(none));
        Figure::beside(format!("write on {filesystem}, {state}"), "ns", median(values), peer, Target::None)
            .with_ratio(paired_ratio(values, none), target)
            .print()?;
    }
    if source == "fexit" {
        for (state, peer, most) in [
            ("unwatched, no interests", FANOTIFY, 0.25),
            ("unwatched, 1,000 other interests", FANOTIFY, 0.25),
            ("watched by 1 client", INOTIFY, 0.5),
            ("watched by 100 clients", INOTIFY, 0.5),
        ] {
            let (ours, theirs) = (added(of(state)?, none), added(of(peer)?, none));
            let name = format!("added to a write on {filesystem}, {state}");
            Figure::beside(name, "ns", ours, (peer, theirs), Target::RatioAtMost(most)).print()?;
        }
    }
    let interests = [(1.0, "unwatched, no interests"), (1001.0, "unwatched, 1,000 other interests")];
    let points = interests.map(|(x, state)| of(state).map(|values| (x, median(values))));
    Ok(curve("cost", filesystem, &points.into_iter().collect::<Result<Vec<_>>>()?)?)
}

fn added(values: &[f64], none: &[f64]) -> f64 {
    let added: Vec<f64> = values.iter().zip(none).map(|(value, none)| value - none).collect();
    median(&added)
}
