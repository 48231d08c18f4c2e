//! `cargo xtask coherence`: the coherence checker, for as long as one likes, on the running kernel or under QEMU.

use std::{
    fmt::Write,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};

use crate::{
    cargo::cargo,
    command, parallel, paths,
    summary::Summary,
    test::KERNEL_TESTS,
    vm::{self, Kernel, Programs},
};

/// What the tests know as a long run.
const LONG: &str = "--coherence";
/// Those that the tests make.
const FILESYSTEMS: u64 = 5;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long, shared out among the filesystems
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// What all random choices follow from. Another one each time when not given
    #[arg(long)]
    seed: Option<u64>,
    /// Faults that befall daemon and clients: a list of names, `all` or `none`
    #[arg(long, default_value = "all")]
    faults: String,
    /// One filesystem alone
    #[arg(long)]
    filesystem: Option<String>,
    /// Settings that win over the others, as a run shows them: `seed=1 seconds=20 writers=3 ..`
    #[arg(long, default_value = "")]
    plan: String,
    /// A kernel under QEMU rather than the running one
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let plan = plan(args, seed)?;
    println!("coherence: {plan}");
    let mut words = vec![LONG.to_owned(), plan];
    // The tests are named after their filesystems. What they print is to be seen at once.
    words.extend(args.filesystem.as_ref().map(|name| format!("{name}::")));
    match args.kernel {
        Some(kernel) => emulated(kernel, &words, Duration::from_secs(args.minutes * 60)),
        None => native(&words),
    }
}

fn plan(args: &Args, seed: u64) -> Result<String> {
    let shares = if args.filesystem.is_some() { 1 } else { FILESYSTEMS };
    let seconds = args.minutes * 60 / shares;
    ensure!(seconds > 0, "nothing is checked in no time");
    let mut plan = format!("seed={seed} seconds={seconds} faults={}", args.faults);
    if args.kernel.is_some() {
        // As much as an emulated processor does.
        plan += " writers=2 clients=4 stages=5";
    }
    if !args.plan.is_empty() {
        write!(plan, " {}", args.plan)?;
    }
    Ok(plan)
}

/// A long run on the running kernel.
pub(crate) fn native(words: &[String]) -> Result<ExitCode> {
    ensure!(nix::unistd::geteuid().is_root(), "the daemon loads BPF programs: run this as root");
    command::run(cargo().args(["build", "--quiet", "--package", "upcall-user"]))?;
    let mut tests = cargo();
    tests.args(KERNEL_TESTS).arg("--").args(words).env("UPCALL_BIN", paths::target().join("debug/upcall"));
    Ok(if tests.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn emulated(kernel: Kernel, words: &[String], time: Duration) -> Result<ExitCode> {
    if let Some(why) = vm::unavailable() {
        anyhow::bail!("no kernels under QEMU: {why}");
    }
    let kernels = vec![(kernel, words.to_vec())];
    let stages = parallel::run(vm::boots(kernels, &Programs::build()?, time + vm::DEFAULT_TIMEOUT));
    for stage in &stages {
        println!("{}", stage.line(Summary::to_string));
    }
    let good = stages.iter().all(|stage| stage.result.as_ref().is_ok_and(|summary| summary.failed == 0));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn of(words: &[&str]) -> Result<String> {
        let args = Cli::try_parse_from([&["coherence"], words].concat())?.args;
        plan(&args, args.seed.unwrap_or_default())
    }

    #[test]
    fn the_time_is_shared_out_among_filesystems() -> Result<()> {
        assert_eq!(of(&["--minutes", "20", "--seed", "7"])?, "seed=7 seconds=240 faults=all");
        assert_eq!(
            of(&["--minutes", "1", "--filesystem", "xfs", "--faults", "cut"])?,
            "seed=0 seconds=60 faults=cut"
        );
        assert!(of(&["--minutes", "0"]).is_err());
        Ok(())
    }

    #[test]
    fn a_plan_that_is_given_wins() -> Result<()> {
        assert!(of(&["--plan", "seed=9 writers=1"])?.ends_with(" seed=9 writers=1"));
        Ok(())
    }
}
