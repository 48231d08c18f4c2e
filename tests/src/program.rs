//! The program `upcall`, run as a user runs it.

use std::{
    ffi::OsStr,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::deadline::wait_for;

/// `UPCALL_BIN`, or the one that was built beside these tests.
pub fn upcall() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("UPCALL_BIN") {
        return Ok(path.into());
    }
    let tests = std::env::current_exe().context("cannot find out where the tests are")?;
    let beside = tests.ancestors().nth(2).map(|target| target.join("upcall"));
    match beside.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "there is no program `upcall` to test: run `cargo build -p upcall-user` first or set UPCALL_BIN"
        ),
    }
}

/// Runs a subcommand to its end.
pub fn output<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Output> {
    Command::new(upcall()?).args(args).output().context("cannot run upcall")
}

/// Runs a subcommand that fails, and returns what it says. One that runs on instead is killed.
pub fn refusal<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<String> {
    let mut child = Command::new(upcall()?).args(args).stderr(Stdio::piped()).spawn()?;
    let status = wait_for("the program to refuse", || Ok(child.try_wait()?));
    if status.is_err() {
        child.kill()?;
    }
    let said = String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned();
    ensure!(!status.with_context(|| said.clone())?.success(), "it succeeded: {said}");
    Ok(said)
}

/// Runs a subcommand that prints one JSON object a line and succeeds.
pub fn json_lines<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Vec<Value>> {
    let output = output(args)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "upcall ended with {}: {err}", output.status);
    out.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("this line is no JSON: {line}")))
        .collect()
}
