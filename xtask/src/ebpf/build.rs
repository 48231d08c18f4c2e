//! Compiling `upcall-ebpf` for the BPF target, so that the bytes do not depend on where it is done.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{
    linker::{self, Linker},
    toolchain::Toolchain,
};
use crate::{command, paths};

/// The flags that shape the object; they are part of its record.
pub(super) const FLAGS: [&str; 3] = ["-Ctarget-cpu=v3", "-Clink-arg=--btf", "-Cdebuginfo=2"];

const TARGET: &str = "bpfel-unknown-none";

/// Builds the object and returns its bytes, debug sections included.
pub(super) fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let linker = linker::find(toolchain)?;
    let target = paths::target().join("ebpf/build");
    let flags = flags(toolchain, &linker)?.join("\x1f");
    let cargo = || {
        let mut cargo = toolchain.cargo();
        cargo
            .current_dir(paths::root())
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_ENCODED_RUSTFLAGS", &flags)
            .env("LD_LIBRARY_PATH", &linker.llvm);
        cargo
    };
    // Cargo takes sources that were put back with their old times for unchanged, and would have a check
    // judge the object of what was there in between.
    let ours = ["--package", "upcall-ebpf", "--package", "upcall-common"];
    command::run(cargo().args(["clean", "--quiet", "--release", "--target", TARGET]).args(ours))?;
    command::run(
        cargo().args(["build", "--quiet", "--release", "-Zbuild-std=core", "--target", TARGET]).args([
            "--package",
            "upcall-ebpf",
            "--bin",
            "upcall-ebpf",
            "--features",
            "bpf",
        ]),
    )?;
    let object = target.join(TARGET).join("release/upcall-ebpf");
    fs::read(&object).with_context(|| format!("cannot read {}", object.display()))
}

fn flags(toolchain: &Toolchain, linker: &Linker) -> Result<Vec<String>> {
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
    flags.push(format!("-Clinker={}", linker.program.display()));
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    // BTF's line information names source files. The last prefix that fits is the one that counts.
    remap(&paths::root(), "/upcall");
    for registry in registries()? {
        remap(&registry, "/registry");
    }
    remap(&toolchain.sysroot, "/sysroot");
    let sources = toolchain.sysroot.join("lib/rustlib/src/rust");
    let real = sources.canonicalize().with_context(|| format!("cannot resolve {}", sources.display()))?;
    remap(&real, "/sysroot/lib/rustlib/src/rust");
    Ok(flags)
}

/// Where Cargo unpacks the sources of dependencies: a directory for each registry it knows.
fn registries() -> Result<Vec<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("no home directory is set")?;
    let sources = home.join("registry/src");
    let entries = fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))?;
    let mut dirs = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    dirs.sort();
    Ok(dirs)
}
