//! `upcall doctor` says of this kernel what the table says.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{Result, filesystem::Filesystem, program};
use upcall_common::paths::{self, MutationPath, Source};

use crate::trials::Trials;

pub(super) fn add(trials: &mut Trials<'_>) {
    trials.kernel("doctor_prints_the_table", doctor);
}

fn doctor(filesystem: &Filesystem) -> Result<()> {
    let status = filesystem.daemon()?.status()?;
    let source = Source::ALL.into_iter().find(|source| status["source"] == source.name());
    let source = source.context("status has no source")?;
    let lines = program::json_lines(["doctor", "--json"])?;
    let mut printed = lines.iter().filter(|line| line["type"] == "path");
    for (group, path) in paths::all() {
        let line = printed.next().with_context(|| format!("{} is not printed", path.name))?;
        ensure!(line["path"] == path.name, "{} instead of {}", line["path"], path.name);
        ensure!(line["group"] == group.name(), "another group: {line}");
        ensure!(line["source"] == source.name(), "another source: {line}");
        let covered = path.missed_by(source).is_none() && is_hooked(path, source, &status);
        ensure!(line["covered"] == covered, "covered should be {covered}: {line}");
        ensure!(line["why"].is_null() == covered, "it must say why exactly if it is not covered: {line}");
        ensure!(line["hook"].is_null() != covered, "it must name a hook exactly if it is covered: {line}");
        let gaps = path.gaps(source).filter(|_| covered);
        let except = gaps.flat_map(|gap| gap.on.iter().map(|on| json!({ "filesystem": on, "why": gap.why })));
        ensure!(line["except"] == except.collect::<Value>(), "other exceptions: {line}");
    }
    ensure!(printed.next().is_none(), "more is printed than the table has");
    Ok(())
}

/// Whether one of the hooks that see it works here.
fn is_hooked(path: &MutationPath, source: Source, status: &Value) -> bool {
    let lost = |hook: &str| {
        status["lost"].as_array().is_some_and(|lost| lost.iter().any(|lost| lost["hook"] == hook))
    };
    source == Source::Timestamp || path.fexit.iter().any(|hook| !lost(hook.name()))
}
