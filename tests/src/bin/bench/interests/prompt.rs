//! The time until an upcall, which should not grow with the number of interests.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use crate::{
    arena::{self, Arena},
    latency::{self, LIBRARY_UNIX, Subject},
    peers::INOTIFY,
    report::{Figure, curve},
    scale::Scale,
    stats::Quantile,
};

/// Of each name, so that there are as many more samples in a round.
const COPIES: usize = 4;
/// Enough for the quantiles.
const ROUNDS: u32 = 250;

/// Interests of its own.
pub(super) const OWN: usize = COPIES;

const QUANTILES: [Quantile; 2] = [Quantile::MEDIAN, Quantile::P99];

/// At a number of interests.
struct Point {
    interests: usize,
    quantile: Quantile,
    ours: f64,
    inotify: f64,
}

pub(super) struct Prompt {
    subjects: Vec<Subject>,
    points: Vec<Point>,
}

impl Prompt {
    pub(super) fn files(arena: &Arena) -> Result<Vec<PathBuf>> {
        arena::files(&arena.tmpfs, "interests-prompt", 2 * COPIES)
    }

    pub(super) fn start(daemon: &Daemon, files: &[PathBuf]) -> Result<Self> {
        let mut subjects = Vec::new();
        for pair in files.chunks_exact(2) {
            let [ours, theirs] = pair else { continue };
            subjects.push(Subject::library(LIBRARY_UNIX, &daemon.unix(), ours)?);
            subjects.push(Subject::inotify(INOTIFY, theirs)?);
        }
        Ok(Self { subjects, points: Vec::new() })
    }

    pub(super) fn beside(&mut self, interests: usize, scale: &Scale) -> Result<()> {
        self.subjects.iter_mut().for_each(Subject::forget);
        latency::sample(&mut self.subjects, scale.latency_rounds.min(ROUNDS), latency::APART)?;
        for quantile in QUANTILES {
            let of = |name| quantile.of(&latency::times(&self.subjects, name)).context("too few samples");
            let (ours, inotify) = (of(LIBRARY_UNIX)?, of(INOTIFY)?);
            self.points.push(Point { interests, quantile, ours, inotify });
        }
        Ok(())
    }

    pub(super) fn tell(&self) -> Result<()> {
        for Point { interests, quantile, ours, inotify } in &self.points {
            let name = format!("latency beside {interests} interests, {LIBRARY_UNIX}, {}", quantile.name);
            Figure::beside(name, "us", *ours, (INOTIFY, *inotify), latency::wanted(*quantile)).print()?;
        }
        for quantile in QUANTILES {
            let points = |value: fn(&Point) -> f64| -> Vec<_> {
                let of_this = self.points.iter().filter(|point| point.quantile == quantile);
                of_this.map(|point| (super::place(point.interests), value(point))).collect()
            };
            let name = quantile.name;
            curve("latency-interests", &format!("{LIBRARY_UNIX}, {name}"), &points(|point| point.ours))?;
            curve("latency-interests", &format!("{INOTIFY}, {name}"), &points(|point| point.inotify))?;
        }
        Ok(())
    }
}
