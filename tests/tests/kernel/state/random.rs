//! > 200 clients, 20 local processes, random leases, shares and locks with kills and restarts: the safety invariant (no
//! > two incompatible holders; no foreign change under a lease) never broken, every wait ends, no state leaked at the end.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    daemon::Program,
    deadline::in_vm,
    exclusion::{self, Plan},
    filesystem::{Filesystem, Filesystems},
    program,
};

use crate::trials::Trials;

/// The argument that asks for a long run alone; the next one is the plan.
pub(crate) const LONG: &str = "--exclusion";
/// Where it happens: the filesystem makes no difference to what is held.
const ON: &str = "ext4";

pub(super) fn add(trials: &mut Trials<'_>) {
    // Where everything is emulated, so many processes come to nothing.
    if !in_vm() {
        trials.on(ON, "state::no_two_hold_what_excludes_the_other", |filesystem| {
            let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            check(filesystem, &format!("seed={seed}").parse()?)
        });
    }
    for (what, sabotage, finding) in SABOTAGES {
        trials.on(ON, what, move |filesystem| is_noticed(filesystem, sabotage, finding));
    }
}

/// One run, as the plan has it.
pub(crate) fn long<'a>(filesystems: &'a Filesystems, plan: &str) -> Result<Trials<'a>> {
    let plan: Plan = plan.parse()?;
    let mut trials = Trials::new(filesystems);
    trials.on(ON, "exclusion", move |filesystem| check(filesystem, &plan));
    Ok(trials)
}

fn check(filesystem: &Filesystem, plan: &Plan) -> Result<Completion> {
    let program = Program { path: program::upcall()?, sabotage: None };
    println!("state: {plan}");
    let outcome = exclusion::run(plan, &filesystem.root, program).with_context(|| plan.to_string())?;
    println!("state: {}", outcome.summary);
    if !outcome.findings.is_empty() {
        bail!("{}\nto run it again: cargo xtask state --plan '{plan}'", outcome.findings.join("\n"));
    }
    if let Some(what) = outcome.untried {
        bail!("it shows nothing of {what}: {}", outcome.summary);
    }
    Ok(Completion::Completed)
}

/// Promises that a sabotaged daemon breaks, each with what is to be found.
const SABOTAGES: [(&str, &str, &str); 3] = [
    ("state::a_conflict_that_is_overlooked_is_noticed", "overlook-lease:3", "a lease of file"),
    ("state::a_lease_that_does_not_hold_processes_is_noticed", "yield-lease", "a lease of file"),
    ("state::a_file_that_is_never_forgotten_is_noticed", "keep-file:5", "descriptors are open"),
];

/// Long enough for any of them to be noticed; the run ends with that.
const NOTICED_IN: u64 = 40;

fn is_noticed(filesystem: &Filesystem, sabotage: &'static str, finding: &str) -> Result<Completion> {
    // Built by `cargo xtask test`, natively.
    let Some(path) = std::env::var_os("UPCALL_SABOTAGED_BIN") else { return Ok(Completion::ignored()) };
    let program = Program { path: path.into(), sabotage: Some(sabotage.to_owned()) };
    let plan: Plan = format!("seconds={NOTICED_IN}").parse()?;
    let outcome = exclusion::run(&plan, &filesystem.root, program).context(sabotage)?;
    let found = outcome.findings.iter().any(|it| it.contains(finding));
    ensure!(found, "it was not found: {}{}", outcome.summary, outcome.findings.join("\n"));
    Ok(Completion::Completed)
}
