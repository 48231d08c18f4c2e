//! `cargo xtask VERB`: everything a person types while working on upcall.

mod bench;
mod cargo;
mod ci;
mod coherence;
mod command;
mod demo;
mod ebpf;
mod packages;
mod parallel;
mod paths;
mod stage;
mod state;
mod summary;
mod table;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and show upcall")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the BPF object in place, or compare it with a fresh build
    Ebpf(ebpf::Args),
    /// Run the kernel tests inside Debian kernels under QEMU
    Vm(vm::Args),
    /// Run every test that this machine can run
    Test(test::Args),
    /// Measure upcall beside its peers
    Bench(bench::Args),
    /// Start a daemon with two clients, make changes, and show that both hear of each
    Demo,
    /// Write README's table of the ways a file changes
    Table,
    /// Change a tree in every way while faults befall, and check that no client's cache is stale
    Coherence(coherence::Args),
    /// Let clients and local processes contend for files while some are killed, and check that no two hold what excludes
    /// the other
    State(state::Args),
    /// What CI runs: formatting, lints, the object, the demo and all tests
    Ci,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Ebpf(args) => ebpf::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Demo => demo::run().map(|()| ExitCode::SUCCESS),
        Verb::Table => table::run().map(|()| ExitCode::SUCCESS),
        Verb::Coherence(args) => coherence::run(&args),
        Verb::State(args) => state::run(&args),
        Verb::Ci => ci::run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
