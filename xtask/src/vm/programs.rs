//! The static programs that go into the machine.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{cargo, command, paths};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where they were built.
pub(crate) struct Programs {
    pub(super) init: PathBuf,
    pub(super) tests: PathBuf,
    /// The program `upcall`, when the tests are ours.
    pub(super) upcall: Option<PathBuf>,
}

impl Programs {
    /// Builds the kernel tests and all they need.
    pub(crate) fn build() -> Result<Self> {
        let mut built = build(&["--workspace", "--bin", "vm_init", "--bin", "upcall", "--test", "kernel"])?;
        let mut take = |name: &str| built.remove(name).with_context(|| format!("cargo did not build {name}"));
        Ok(Self { init: take("vm_init")?, upcall: Some(take("upcall")?), tests: take("kernel")? })
    }

    /// Builds the measuring program in place of the tests.
    pub(crate) fn bench() -> Result<Self> {
        let mut built = build(&["--workspace", "--bin", "vm_init", "--bin", "upcall", "--bin", "bench"])?;
        let mut take = |name: &str| built.remove(name).with_context(|| format!("cargo did not build {name}"));
        Ok(Self { init: take("vm_init")?, upcall: Some(take("upcall")?), tests: take("bench")? })
    }

    /// The given test program instead of ours.
    pub(super) fn with(program: &Path) -> Result<Self> {
        ensure!(program.is_file(), "{} is no file", program.display());
        let mut built = build(&["--package", "xtask", "--bin", "vm_init"])?;
        let init = built.remove("vm_init").context("cargo did not build vm_init")?;
        Ok(Self { init, upcall: None, tests: program.to_path_buf() })
    }
}

/// Builds targets statically and returns their executables by name.
fn build(targets: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = cargo::cargo();
    cargo.args(["build", "--quiet", "--profile", "vm", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let messages = command::output(with_static_flags(cargo.args(targets)))?;
    let mut built = BTreeMap::new();
    for line in messages.lines() {
        built.extend(executable(line)?);
    }
    Ok(built)
}

/// Its own target directory: these flags would make the usual one rebuild everything, back and forth.
fn with_static_flags(cargo: &mut Command) -> &mut Command {
    cargo
        .env("CARGO_TARGET_DIR", paths::target().join("vm/build"))
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static")
}

/// The name and path of an executable that one of Cargo's messages announces.
fn executable(line: &str) -> Result<Option<(String, PathBuf)>> {
    let message: Value = serde_json::from_str(line).context("cargo printed something else than JSON")?;
    let Some(path) = message["executable"].as_str() else { return Ok(None) };
    let name = message["target"]["name"].as_str().context("cargo announced an executable without a name")?;
    Ok(Some((name.to_owned(), path.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_the_messages() -> Result<()> {
        let line = r#"{"reason":"compiler-artifact","target":{"name":"kernel"},"executable":"/t/kernel-1"}"#;
        assert_eq!(executable(line)?, Some(("kernel".to_owned(), PathBuf::from("/t/kernel-1"))));
        let line = r#"{"reason":"compiler-artifact","target":{"name":"anyhow"},"executable":null}"#;
        assert_eq!(executable(line)?, None);
        assert!(executable("Compiling").is_err());
        Ok(())
    }
}
