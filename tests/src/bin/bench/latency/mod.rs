//! From the start of a write to the upcall in the client's hands.

mod storm;
mod subject;
mod tools;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use crate::{
    arena::{self, Arena},
    peers::{FANOTIFY, INOTIFY},
    report::{Figure, Target, curve},
    scale::Scale,
    stats::{Quantile, distribution},
};

pub use subject::{Subject, sample, times};
pub use tools::run as tools;

/// Longer than a change takes to settle, so that each write is a change of its own.
pub const APART: Duration = Duration::from_millis(16);

/// Of each subject, so that there are as many more samples in a round.
const COPIES: usize = 3;

/// A client that uses the library, over a Unix socket.
pub const LIBRARY_UNIX: &str = "library, Unix";
const NAMES: [&str; 6] = [LIBRARY_UNIX, "library, TCP", "bare, Unix", "bare, TCP", INOTIFY, FANOTIFY];

const QUANTILES: [Quantile; 3] = [Quantile::MEDIAN, Quantile::P99, Quantile::P999];

/// What is wanted of a client beside a bare inotify reader.
pub fn wanted(quantile: Quantile) -> Target {
    match quantile {
        Quantile::MEDIAN => Target::RatioAtMost(2.5),
        Quantile::P99 => Target::RatioAtMost(2.0),
        _ => Target::None,
    }
}

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let paths = arena::files(&arena.tmpfs, "latency", NAMES.len() * COPIES)?;
    let aside = arena::files(&arena.aside, "latency", COPIES)?;
    for state in ["idle", "loaded"] {
        let _storm = if state == "loaded" { Some(storm::start(&arena.tmpfs)?) } else { None };
        let mut subjects = subjects(&daemon, &paths, &aside)?;
        sample(&mut subjects, scale.latency_rounds, APART)?;
        tell(&subjects, state)?;
    }
    Ok(())
}

fn subjects(daemon: &Daemon, paths: &[PathBuf], aside: &[PathBuf]) -> Result<Vec<Subject>> {
    let (unix, tcp) = (daemon.unix(), daemon.tcp());
    let mut paths = paths.iter();
    let mut subjects = Vec::new();
    for aside in aside {
        for name in NAMES {
            let path = paths.next().context("too few files")?;
            subjects.push(match name {
                LIBRARY_UNIX => Subject::library(name, &unix, path)?,
                "library, TCP" => Subject::library(name, &tcp, path)?,
                "bare, Unix" => Subject::bare(name, &unix, path)?,
                "bare, TCP" => Subject::bare(name, &tcp, path)?,
                INOTIFY => Subject::inotify(name, path)?,
                // Of all files there, whoever writes them: where the others are not.
                _ => Subject::fanotify(name, aside)?,
            });
        }
    }
    Ok(subjects)
}

fn tell(subjects: &[Subject], state: &str) -> Result<()> {
    let inotify = times(subjects, INOTIFY);
    for name in NAMES {
        let took = times(subjects, name);
        curve(&format!("latency-{state}"), name, &distribution(&took))?;
        if name == INOTIFY {
            continue;
        }
        for quantile in QUANTILES {
            let target = if name.starts_with("library") { wanted(quantile) } else { Target::None };
            if let (Some(ours), Some(peer)) = (quantile.of(&took), quantile.of(&inotify)) {
                let name = format!("latency {state}, {name}, {}", quantile.name);
                Figure::beside(name, "us", ours, (INOTIFY, peer), target).print()?;
            }
        }
    }
    Ok(())
}
