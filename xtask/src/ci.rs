//! `cargo xtask ci`: what must hold before a change is accepted.

use std::{
    env, fs,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

use crate::{cargo::cargo, command, ebpf, paths, stage::Stage, summary::Summary};

pub(crate) fn run() -> Result<ExitCode> {
    let mut total = None;
    // The tests come last, so that the objects and programs they use are known to be in order.
    let stages = [
        Stage::run("readme", readme),
        Stage::run("fmt", fmt),
        Stage::run("clippy", clippy),
        Stage::run("ebpf", object),
        Stage::run("demo", demo),
        Stage::run("test", || test(&mut total)),
    ];
    println!();
    for stage in &stages {
        println!("{}", stage.line(|()| "ok".to_owned()));
    }
    if let Some(total) = total {
        println!("{total}");
    }
    let good = stages.iter().all(|stage| stage.result.is_ok());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The command that a newcomer is told to test with is the one run here.
fn readme() -> Result<()> {
    let path = paths::root().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(text.contains("cargo xtask test"), "README.md does not name `cargo xtask test`");
    Ok(())
}

fn fmt() -> Result<()> {
    command::run(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let warnings = ["--", "-D", "warnings"];
    command::run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(warnings))?;
    // Not among all targets: plain `cargo test` leaves it out.
    command::run(cargo().args(["clippy", "--quiet", "--workspace", "--test", "kernel"]).args(warnings))
}

fn object() -> Result<()> {
    let status = xtask(&["ebpf", "--check"])?.status().context("cannot run xtask")?;
    // With another toolchain the check still compares programs and maps, and says so.
    let accepted = status.success() || status.code() == Some(ebpf::NOT_COMPARED.into());
    ensure!(accepted, "the committed object does not match the sources");
    Ok(())
}

fn demo() -> Result<()> {
    command::run(&mut xtask(&["demo"])?)
}

fn test(total: &mut Option<Summary>) -> Result<()> {
    let status = command::tee(&mut xtask(&["test"])?, |line| {
        *total = Summary::from_total_line(line).or(*total);
    })?;
    ensure!(status.success(), "tests failed");
    ensure!(total.is_some(), "the tests ended without a summary");
    Ok(())
}

/// Ourselves with another verb: each stage then is just what a person would type.
fn xtask(args: &[&str]) -> Result<Command> {
    let program = env::current_exe().context("cannot find xtask itself")?;
    let mut command = Command::new(program);
    command.current_dir(paths::root()).args(args);
    Ok(command)
}
