//! What a write of a file costs that nobody watches, which should not grow with the number of interests in others.

use std::fs::File;

use anyhow::{Context, Result};

use crate::{
    arena::{self, Arena},
    peers::NO_DAEMON,
    report::{Figure, Target, curve},
    scale::Scale,
    stats::median,
    writes,
};

pub(super) struct Unwatched<'a> {
    filesystem: &'static str,
    file: File,
    scale: &'a Scale,
    /// Without a daemon, before and after.
    alone: Vec<f64>,
    /// By the number of interests.
    costs: Vec<(usize, f64)>,
}

impl<'a> Unwatched<'a> {
    /// A file on each filesystem.
    pub(super) fn all(arena: &Arena, scale: &'a Scale) -> Result<Vec<Self>> {
        let on = |(filesystem, root)| {
            let path = arena::files(root, "interests-unwatched", 1)?.pop().context("no file")?;
            let file = File::options().write(true).open(path)?;
            Ok(Self { filesystem, file, scale, alone: Vec::new(), costs: Vec::new() })
        };
        arena.filesystems().into_iter().map(on).collect()
    }

    /// Without a daemon.
    pub(super) fn alone(&mut self) -> Result<()> {
        self.alone.push(self.cost()?);
        Ok(())
    }

    pub(super) fn beside(&mut self, interests: usize) -> Result<()> {
        self.costs.push((interests, self.cost()?));
        Ok(())
    }

    fn cost(&self) -> Result<f64> {
        Ok(writes::per_write(&self.file, self.scale.batches * self.scale.rounds, self.scale.batch)?.cpu)
    }

    pub(super) fn tell(&self, target: Target) -> Result<()> {
        let none = median(&self.alone);
        for &(interests, cost) in &self.costs {
            let name = format!("write on {}, unwatched, beside {interests} interests", self.filesystem);
            Figure::beside(name, "ns", cost, (NO_DAEMON, none), target).print()?;
        }
        let points = |value: fn(f64, f64) -> f64| -> Vec<_> {
            self.costs.iter().map(|&(interests, cost)| (super::place(interests), value(cost, none))).collect()
        };
        curve("cost", self.filesystem, &points(|cost, _| cost))?;
        Ok(curve("cost", &format!("{}, {NO_DAEMON}", self.filesystem), &points(|_, none| none))?)
    }
}
