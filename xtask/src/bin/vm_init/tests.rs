//! The test program.

use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use anyhow::{Context, Result};

use crate::{ORDERS, disks::Mounted};

/// Runs it with the host's arguments, tells it what is mounted where, and returns its exit code.
pub(crate) fn run(filesystems: &[Mounted]) -> Result<i32> {
    let args = fs::read_to_string(format!("{ORDERS}/args")).context("cannot read the arguments")?;
    let mounted: Vec<_> = filesystems.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let status = Command::new("/bin/kernel-tests")
        .args(args.lines())
        .current_dir("/root")
        .env_clear()
        .env("PATH", "/bin")
        .env("HOME", "/root")
        .env("TERM", "dumb")
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "1")
        .env("UPCALL_BIN", "/bin/upcall")
        .env("UPCALL_TEST_FS", mounted.join(","))
        .status()
        .context("cannot run the test program")?;
    // As a shell has it.
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}
