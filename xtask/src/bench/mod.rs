//! `cargo xtask bench`: upcall measured beside its peers.

mod document;
mod line;
mod machine;
mod measure;
mod pictures;
mod table;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;

use crate::vm::Kernel;
use line::Line;
use measure::Run;

/// Emulation is slow, and slower on a busy host.
const TIMEOUT_SECONDS: u64 = 30 * 60;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print figures and curves as JSON, one object a line as they come, instead of a table
    #[arg(long)]
    json: bool,
    /// Only the measures whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Fewer rounds, fewer files: to try it out
    #[arg(long)]
    quick: bool,
    /// Inside this kernel under QEMU instead of here: cost and latency, if not told otherwise
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// Here, and then inside Linux 6.12 under QEMU
    #[arg(long, conflicts_with = "kernel")]
    both: bool,
    /// Keep the figures in BENCHMARKS.md and the pictures in docs/bench
    #[arg(long)]
    write: bool,
    /// Seconds after which a kernel under QEMU is given up
    #[arg(long, default_value_t = TIMEOUT_SECONDS)]
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
    fn shown(&self, kernel: Option<Kernel>) -> String {
        let kernel = kernel.map(|kernel| format!("--kernel {kernel}"));
        let words = ["cargo xtask bench".to_owned()].into_iter().chain(kernel).chain(self.of_program());
        words.collect::<Vec<_>>().join(" ")
    }

    fn kernels(&self) -> Vec<Option<Kernel>> {
        if self.both { vec![None, Some(Kernel::V6_12)] } else { vec![self.kernel] }
    }
}

/// Whatever went wrong, what could be measured is shown and kept.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for kernel in args.kernels() {
        let start = Instant::now();
        let run = measure::run(kernel, args);
        show(kernel, args, &run)?;
        eprintln!("xtask: {}: {:.0} s", args.shown(kernel), start.elapsed().as_secs_f64());
        if let Err(error) = run.ended {
            eprintln!("xtask: {}: {error:#}", args.shown(kernel));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn show(kernel: Option<Kernel>, args: &Args, run: &Run) -> Result<()> {
    let measured = run.lines.iter().any(|line| matches!(line, Line::Figure(_)));
    if !args.json && !run.lines.is_empty() {
        print!("{}", table::text(&run.lines));
    }
    // Nothing is no reason to forget an earlier run.
    if args.write && measured {
        let about = machine::about(kernel, args.shown(kernel))?;
        document::keep(kernel, &about, &run.lines, args.only.as_deref())?;
        pictures::draw(kernel, &run.lines)?;
    }
    Ok(())
}
