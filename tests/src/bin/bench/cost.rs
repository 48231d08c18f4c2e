//! What a write of 64 bytes costs, with nobody and with somebody looking on.

mod tell;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use crate::{
    arena::{self, Arena},
    calls::Cost,
    crowd::Crowd,
    library::{self, Library},
    peers::{FANOTIFY, INOTIFY, NO_DAEMON, Reader, Tool},
    pin,
    report::Target,
    scale::Scale,
    writes,
};

const OTHERS: usize = 1000;

/// The same as the first, so that their difference shows how much is noise.
const AGAIN: &str = "no daemon again";
const UNWATCHED: &str = "unwatched, no interests";
const UNWATCHED_OTHERS: &str = "unwatched, 1,000 other interests";
const WATCHED: &str = "watched by 1 client";
const WATCHED_MANY: &str = "watched by 100 clients";

/// What was measured in a round, in that order.
type Round = Vec<(&'static str, Cost)>;

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    for (name, root) in arena.filesystems() {
        let bench = Bench::new(root, scale)?;
        let mut rounds = Vec::new();
        let mut target = Target::None;
        for _ in 0..scale.rounds {
            let (round, by) = bench.round(arena)?;
            rounds.push(round);
            target = by;
        }
        tell::all(name, target, &rounds)?;
    }
    Ok(())
}

struct Bench<'a> {
    path: PathBuf,
    file: File,
    others: Vec<PathBuf>,
    tools: Vec<Tool>,
    scale: &'a Scale,
}

impl<'a> Bench<'a> {
    fn new(root: &Path, scale: &'a Scale) -> Result<Self> {
        let path = arena::files(root, "cost", 1)?.pop().context("no file")?;
        let file = File::options().write(true).open(&path)?;
        Ok(Self {
            path,
            file,
            others: arena::files(root, "cost-others", OTHERS)?,
            tools: Tool::present(),
            scale,
        })
    }

    /// One value for each state, and what is wanted of the daemon's.
    fn round(&self, arena: &Arena) -> Result<(Round, Target)> {
        let mut round = Vec::new();
        let mut measure = |state| -> Result<()> {
            round.push((state, writes::sample(&self.file, self.scale)?));
            Ok(())
        };
        let _others = pin::others()?;
        measure(NO_DAEMON)?;
        measure(AGAIN)?;
        let daemon = Daemon::start(&arena.exports(), "")?;
        let target = Target::of_writes(&daemon)?;
        measure(UNWATCHED)?;
        let interests = Library::start(&daemon.unix(), library::watches(&self.others), |_, _| ())?;
        measure(UNWATCHED_OTHERS)?;
        drop(interests);
        for (state, clients) in [(WATCHED, 1), (WATCHED_MANY, 100)] {
            let _drain = Crowd::of_clients(&daemon.socket(), &self.path, clients)?.drain();
            measure(state)?;
        }
        drop(daemon);
        let reader = Reader::inotify(std::slice::from_ref(&self.path), |_, _| ())?;
        measure(INOTIFY)?;
        drop(reader);
        let reader = Reader::fanotify(&self.path, |_, _| ())?;
        measure(FANOTIFY)?;
        drop(reader);
        for &tool in &self.tools {
            let _reader = Reader::tool(tool, &self.path, |_, _| ())?;
            measure(tool.name())?;
        }
        Ok((round, target))
    }
}
