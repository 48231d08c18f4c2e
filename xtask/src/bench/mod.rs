//! `cargo xtask bench`: upcall measured beside its peers.

mod document;
mod line;
mod machine;
mod pictures;
mod table;

use std::{
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    cargo::{cargo, forget_package},
    command, packages, paths,
    vm::{self, Kernel},
};
use line::{Figure, Line};

/// What the filesystem is made with.
const PACKAGES: [&str; 1] = ["e2fsprogs"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print figures as JSON, one object a line, instead of a table
    #[arg(long)]
    json: bool,
    /// Only the measures whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Fewer rounds, fewer files: to try it out
    #[arg(long)]
    quick: bool,
    /// Inside this kernel under QEMU instead of here
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// Keep the figures in BENCHMARKS.md and the pictures in docs/bench
    #[arg(long)]
    write: bool,
    /// Seconds after which a kernel under QEMU is given up
    #[arg(long, default_value_t = vm::DEFAULT_TIMEOUT.as_secs())]
    timeout: u64,
}

impl Args {
    fn of_program(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(only) = &self.only {
            args.extend(["--only".to_owned(), only.clone()]);
        }
        if self.quick {
            args.push("--quick".to_owned());
        }
        args
    }

    /// How to do it again.
    fn shown(&self) -> String {
        let kernel = self.kernel.map(|kernel| format!("--kernel {kernel}"));
        let words = ["cargo xtask bench".to_owned()].into_iter().chain(kernel).chain(self.of_program());
        words.collect::<Vec<_>>().join(" ")
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let text = match args.kernel {
        Some(kernel) => vm::bench(kernel, &args.of_program(), Duration::from_secs(args.timeout))?,
        None => native(&args.of_program())?,
    };
    let lines: Vec<Line> = text.lines().filter_map(Line::parse).collect();
    let figures: Vec<Figure> = lines.iter().filter_map(Line::figure).collect();
    if args.json {
        for figure in &figures {
            println!("{}", serde_json::to_string(figure)?);
        }
    } else {
        print!("{}", table::text(&figures));
    }
    if args.write {
        let about = machine::about(args.kernel, args.shown())?;
        document::keep(args.kernel, &about, &figures, args.only.is_some())?;
        pictures::draw(args.kernel, &lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn native(args: &[String]) -> Result<String> {
    packages::ensure(&PACKAGES)?;
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
    command::output(bench.args(args).env("UPCALL_BIN", built.join("upcall"))).context("the measures failed")
}
