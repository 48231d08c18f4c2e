//! The compiler for the BPF target: one that can build `core` from source.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::packages;

/// Debian's compiler for its web browsers: recent, packaged, and the same on every Debian machine.
const DEBIAN: [&str; 3] = ["rustc-web", "rust-web-src", "cargo-web"];

/// What `rust-version` in the workspace asks for.
const OLDEST_MINOR: u32 = 95;

/// A compiler with the sources of its own standard library.
pub(super) struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    pub(super) sysroot: PathBuf,
    /// What `rustc -vV` prints.
    pub(super) version: String,
}

/// Debian's compiler, installed when we may, else a nightly one that rustup has.
pub(super) fn find() -> Result<Toolchain> {
    if let Some(toolchain) = debian() {
        return Ok(toolchain);
    }
    let installed =
        if packages::is_debian() && nix::unistd::geteuid().is_root() { install() } else { Ok(()) };
    if let Some(toolchain) = debian().or_else(nightly) {
        return Ok(toolchain);
    }
    installed?;
    bail!(
        "no compiler for the BPF target that is Rust 1.{OLDEST_MINOR} or later; on Debian install {}, elsewhere run: \
         rustup toolchain install nightly --component rust-src",
        DEBIAN.join(" ")
    )
}

fn install() -> Result<()> {
    packages::ensure(&DEBIAN)?;
    // One that is installed, or all that stale lists know of, may be too old.
    if debian().is_none() { packages::upgrade(&DEBIAN) } else { Ok(()) }
}

impl Toolchain {
    /// Cargo with this compiler and without whatever configured the build of xtask itself.
    pub(super) fn cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        crate::cargo::forget_package(&mut cargo);
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO", "CARGO_BUILD_TARGET"] {
            cargo.env_remove(name);
        }
        // A distribution's stable compiler refuses `-Z` and `#![feature]` without it.
        cargo.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        cargo
    }

    /// The first line of `rustc -vV`.
    pub(super) fn rustc_line(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }

    /// The LLVM that the compiler writes bitcode with, as `MAJOR.MINOR`.
    pub(super) fn llvm(&self) -> Result<String> {
        let line = self.version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let version = line.context("`rustc -vV` names no LLVM version")?;
        Ok(version.split('.').take(2).collect::<Vec<_>>().join("."))
    }

    fn new(rustc: PathBuf, cargo: PathBuf) -> Option<Self> {
        let version = quiet(Command::new(&rustc).arg("-vV"))?;
        let sysroot = PathBuf::from(quiet(Command::new(&rustc).args(["--print", "sysroot"]))?);
        let has_sources = sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file();
        let usable = has_sources && cargo.is_file() && minor(&version)? >= OLDEST_MINOR;
        usable.then_some(Self { rustc, cargo, sysroot, version })
    }
}

fn debian() -> Option<Toolchain> {
    Toolchain::new(Path::new("/usr/bin/rustc").into(), Path::new("/usr/bin/cargo").into())
}

fn nightly() -> Option<Toolchain> {
    let rustup = packages::find("rustup")?;
    let which = |program| {
        quiet(Command::new(&rustup).args(["which", "--toolchain", "nightly", program])).map(PathBuf::from)
    };
    Toolchain::new(which("rustc")?, which("cargo")?)
}

/// What a command prints, if it can be run at all: a compiler that is not there is no error yet.
fn quiet(command: &mut Command) -> Option<String> {
    // The outer Cargo's library path leads to the libraries of another compiler.
    let output = command.env_remove("LD_LIBRARY_PATH").output().ok()?;
    let text = output.status.success().then(|| String::from_utf8(output.stdout).ok())??;
    Some(text.trim_end().to_owned())
}

fn minor(version: &str) -> Option<u32> {
    version.lines().find_map(|line| line.strip_prefix("release: 1."))?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read_from_the_release_line() {
        assert_eq!(minor("rustc 1.96.0 (abc 2026-05-25)\nrelease: 1.96.0\n"), Some(96));
        assert_eq!(minor("release: 1.97.0-nightly\nLLVM version: 22.1.4"), Some(97));
        assert_eq!(minor("rustc 1.96.0"), None);
    }
}
