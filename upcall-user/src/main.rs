//! `upcall`: tells clients of changes to files on this host.

use std::process::ExitCode;

use clap::Parser;
use upcall_user::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("upcall: {error:#}");
            ExitCode::FAILURE
        }
    }
}
