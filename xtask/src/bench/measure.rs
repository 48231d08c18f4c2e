//! Building the measuring program and running it, here or in a kernel under QEMU.

use std::{process::Command, time::Duration};

use anyhow::{Result, ensure};

use super::{Args, line::Line};
use crate::{
    cargo::{cargo, forget_package},
    command, packages, paths,
    vm::{self, Kernel},
};

/// What the filesystem is made with.
const PACKAGES: [&str; 1] = ["e2fsprogs"];

/// Peers that are programs: measured where they can be had.
const TOOLS: [&str; 2] = ["fatrace", "watchman"];

/// What was measured, also when not all went well.
pub(super) struct Run {
    pub(super) lines: Vec<Line>,
    pub(super) ended: Result<()>,
}

pub(super) fn run(kernel: Option<Kernel>, args: &Args) -> Run {
    let mut lines = Vec::new();
    let see = |text: &str| {
        let Some(line) = Line::parse(text) else { return };
        if args.json {
            println!("{}", text.trim());
        }
        lines.push(line);
    };
    let ended = match kernel {
        Some(kernel) => vm::bench(kernel, &args.of_program(), Duration::from_secs(args.timeout), see),
        None => native(&args.of_program(), see),
    };
    Run { lines, ended }
}

fn native(args: &[String], see: impl FnMut(&str)) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "measuring needs root, as the daemon does; `--kernel 6.12` does not"
    );
    packages::ensure(&PACKAGES)?;
    for tool in TOOLS {
        if let Err(why) = packages::ensure(&[tool]) {
            eprintln!("xtask: without {tool}: {why:#}");
        }
    }
    command::run(cargo().args([
        "build",
        "--quiet",
        "--release",
        "-p",
        "upcall-user",
        "-p",
        "tests",
        "--bins",
    ]))?;
    let built = paths::target().join("release");
    let mut bench = Command::new(built.join("bench"));
    forget_package(&mut bench);
    let status = command::lines(bench.args(args).env("UPCALL_BIN", built.join("upcall")), see)?;
    ensure!(status.success(), "not all could be measured: {status}");
    Ok(())
}
