//! The same for programs that people use for want of upcalls. They are slow, so they are asked seldom.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::daemon::Daemon;

use super::{LIBRARY_UNIX, Subject, sample, times};
use crate::{
    arena::{self, Arena},
    peers::Tool,
    report::{Figure, Target},
    scale::Scale,
    stats::Quantile,
};

/// Longer than any of them gathers changes before it tells of them.
const APART: Duration = Duration::from_millis(64);

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let tools = Tool::present();
    let daemon = Daemon::start(&arena.exports(), "")?;
    let own = arena::files(&arena.tmpfs, "tools", 1)?.pop().context("no file")?;
    let mut subjects = vec![Subject::library(LIBRARY_UNIX, &daemon.unix(), &own)?];
    for &tool in &tools {
        // Of all files there: where nobody else writes.
        let root = if tool == Tool::Fatrace { &arena.aside } else { &arena.tmpfs };
        let path = arena::files(root, tool.name(), 1)?.pop().context("no file")?;
        subjects.push(Subject::tool(tool, &path)?);
    }
    sample(&mut subjects, scale.slow_rounds, APART)?;
    let took = |name| Quantile::MEDIAN.of(&times(&subjects, name)).context("too few samples");
    for tool in tools {
        let name = format!("latency seldom, {LIBRARY_UNIX}, {}", Quantile::MEDIAN.name);
        Figure::beside(name, "us", took(LIBRARY_UNIX)?, (tool.name(), took(tool.name())?), Target::None)
            .print()?;
    }
    Ok(())
}
