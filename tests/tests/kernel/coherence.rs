//! > N writer processes apply random operations to a tree; M clients keep a cache of random subsets, invalidating or
//! > updating only by upcalls. When writers pause, after a SYNC every cache equals the disk; while they run, a read made
//! > after a SYNC is never older than the SYNC.

use anyhow::{Context, bail};
use libtest_mimic::Completion;
use tests::{
    Result,
    coherence::{self, Plan},
    daemon::Program,
    filesystem::Filesystem,
    program,
};

use crate::trials::Trials;

const SECONDS: u64 = 8;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("caches_are_coherent", |filesystem| {
        let plan = format!("seed={} seconds={SECONDS}", seed());
        check(filesystem, &plan.parse()?)
    });
}

/// Another one each time.
fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn check(filesystem: &Filesystem, plan: &Plan) -> Result<Completion> {
    let program = Program { path: program::upcall()?, sabotage: None };
    println!("coherence: {}: {plan}", filesystem.name);
    let outcome = coherence::run(plan, &filesystem.root, program).with_context(|| plan.to_string())?;
    println!("coherence: {}: {}", filesystem.name, outcome.summary);
    if !outcome.findings.is_empty() {
        bail!("{}", outcome.findings.join("\n"));
    }
    Ok(Completion::Completed)
}
