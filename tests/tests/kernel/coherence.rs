//! > N writer processes apply random operations to a tree; M clients keep a cache of random subsets, invalidating or
//! > updating only by upcalls. When writers pause, after a SYNC every cache equals the disk; while they run, a read made
//! > after a SYNC is never older than the SYNC.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    coherence::{self, Plan},
    daemon::Program,
    deadline::in_vm,
    filesystem::{Filesystem, Filesystems},
    program,
};

use crate::trials::Trials;

/// The argument that asks for long runs alone; the next one is the plan.
pub(crate) const LONG: &str = "--coherence";

/// Short runs: without faults each check comes sooner.
const SECONDS: u64 = 4;
const SECONDS_WITH_FAULTS: u64 = 7;

pub(crate) fn add(trials: &mut Trials<'_>) {
    let calm = |filesystem: &Filesystem| short(filesystem, SECONDS, "none");
    let whatever = |filesystem: &Filesystem| short(filesystem, SECONDS_WITH_FAULTS, "all");
    // Where everything is emulated, to start the daemon takes longer than all of this.
    if in_vm() {
        trials.on("xfs", "caches_are_coherent", calm);
        trials.on("ext4", "caches_are_coherent_whatever_befalls", whatever);
    } else {
        trials.on_each("caches_are_coherent", calm);
        trials.on_each("caches_are_coherent_whatever_befalls", whatever);
    }
    for (what, sabotage, faults) in SABOTAGES {
        trials.on("ext4", what, move |filesystem| is_noticed(filesystem, sabotage, faults));
    }
}

/// One run on each filesystem, as the plan has it.
pub(crate) fn long<'a>(filesystems: &'a Filesystems, plan: &str) -> Result<Trials<'a>> {
    let plan: Plan = plan.parse()?;
    let mut trials = Trials::new(filesystems);
    trials.on_each("coherence", move |filesystem| check(filesystem, &plan));
    Ok(trials)
}

fn short(filesystem: &Filesystem, seconds: u64, faults: &str) -> Result<Completion> {
    // Another one each time.
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let size = if in_vm() { "writers=2 clients=4 stages=5" } else { "" };
    check(filesystem, &format!("seed={seed} seconds={seconds} faults={faults} {size}").parse()?)
}

fn check(filesystem: &Filesystem, plan: &Plan) -> Result<Completion> {
    let program = Program { path: program::upcall()?, sabotage: None };
    println!("coherence: {}: {plan}", filesystem.name);
    let outcome = coherence::run(plan, &filesystem.root, program).with_context(|| plan.to_string())?;
    println!("coherence: {}: {}", filesystem.name, outcome.summary);
    if !outcome.findings.is_empty() {
        bail!("{}\nto run it again: {}", outcome.findings.join("\n"), plan.command(filesystem.name));
    }
    Ok(Completion::Completed)
}

/// Promises that a sabotaged daemon breaks, each with the faults by which that shows.
const SABOTAGES: [(&str, &str, &str); 4] = [
    ("a_dropped_record_is_noticed", "drop-record:200", "none"),
    ("a_skipped_scan_is_noticed", "skip-scan:1", "ring"),
    ("a_registration_lost_by_a_restart_is_noticed", "lose-registration:5", "kill"),
    ("a_false_unchanged_is_noticed", "false-unchanged", "cut"),
];

/// Long enough for any of them to be noticed; the run ends with that.
const NOTICED_IN: u64 = 40;

fn is_noticed(filesystem: &Filesystem, sabotage: &'static str, faults: &str) -> Result<Completion> {
    // Built by `cargo xtask test`, natively.
    let Some(path) = std::env::var_os("UPCALL_SABOTAGED_BIN") else { return Ok(Completion::ignored()) };
    let program = Program { path: path.into(), sabotage: Some(sabotage.to_owned()) };
    let plan: Plan = format!("seconds={NOTICED_IN} faults={faults}").parse()?;
    let outcome = coherence::run(&plan, &filesystem.root, program).context(sabotage)?;
    ensure!(outcome.stale > 0, "nothing was found stale: {}{}", outcome.summary, outcome.findings.join("\n"));
    Ok(Completion::Completed)
}
