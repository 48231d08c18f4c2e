//! What it costs to open and close a file that nobody holds a lease of, while clients hold leases of others.

mod leased;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    arena::{self, Arena},
    calls::per_call,
    peers::NO_DAEMON,
    pin,
    report::{Figure, Target},
    scale::Scale,
};
use leased::Leased;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let on = |(name, root)| Unleased::make(name, root);
    let mut files = arena.filesystems().into_iter().map(on).collect::<Result<Vec<_>>>()?;
    let paths = arena::files(&arena.tmpfs, "leased", scale.leases)?;
    let mut daemons = 0;
    for _ in 0..scale.registration_rounds {
        let _others = pin::others()?;
        twice(&mut files, |file| {
            file.alone.push(file.cost(scale)?);
            file.again.push(file.cost(scale)?);
            Ok(())
        })?;
        let leased = Leased::take(arena, &paths)?;
        daemons = leased.daemons();
        twice(&mut files, |file| {
            file.beside.push(file.cost(scale)?);
            Ok(())
        })?;
    }
    let beside = format!("beside {} leases ({daemons} daemons)", paths.len());
    files.iter().try_for_each(|file| file.tell(&beside))
}

/// In turns, so that what comes first after a change of state is not one filesystem alone.
fn twice(files: &mut [Unleased], mut measure: impl FnMut(&mut Unleased) -> Result<()>) -> Result<()> {
    files.iter_mut().try_for_each(&mut measure)?;
    files.iter_mut().rev().try_for_each(measure)
}

/// A file on one filesystem, and nanoseconds of an `open` and `close` of it, one value a round.
struct Unleased {
    filesystem: &'static str,
    path: PathBuf,
    alone: Vec<f64>,
    again: Vec<f64>,
    beside: Vec<f64>,
}

impl Unleased {
    fn make(filesystem: &'static str, root: &Path) -> Result<Self> {
        let path = arena::files(root, "unleased", 1)?.pop().context("no file")?;
        Ok(Self { filesystem, path, alone: Vec::new(), again: Vec::new(), beside: Vec::new() })
    }

    fn cost(&self, scale: &Scale) -> Result<f64> {
        let open = || Ok(File::options().read(true).write(true).open(&self.path).map(drop)?);
        Ok(per_call(scale.batches * scale.rounds, scale.batch, open)?.cpu)
    }

    fn tell(&self, beside: &str) -> Result<()> {
        let states = [
            (format!("{NO_DAEMON} again"), &self.again, Target::None),
            (beside.to_owned(), &self.beside, Target::RatioAtMost(1.03)),
        ];
        states.into_iter().try_for_each(|(state, costs, target)| {
            let name = format!("open and close on {}, {state}", self.filesystem);
            Ok(Figure::paired(name, "ns", costs, (NO_DAEMON, &self.alone), target).print()?)
        })
    }
}
