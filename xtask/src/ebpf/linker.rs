//! bpf-linker: turns the compiler's bitcode into a BPF object, with the compiler's own LLVM.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::toolchain::Toolchain;
use crate::{command, paths};

/// Later versions want a whole LLVM of the compiler's major version on the system.
pub(super) const VERSION: &str = "0.10.3";

/// The linker and the directory in which it finds its LLVM.
pub(super) struct Linker {
    pub(super) program: PathBuf,
    pub(super) llvm: PathBuf,
}

/// Finds or installs the linker.
pub(super) fn find(toolchain: &Toolchain) -> Result<Linker> {
    let llvm = llvm_dir(toolchain)?;
    let ours = paths::target().join("ebpf/linker");
    let candidates = [crate::packages::find("bpf-linker"), Some(ours.join("bin/bpf-linker"))];
    for program in candidates.into_iter().flatten() {
        if is_right(&program, &llvm) {
            return Ok(Linker { program, llvm });
        }
    }
    eprintln!("xtask: installing bpf-linker {VERSION} under {}", ours.display());
    let mut install = crate::cargo::cargo();
    // Not our target directory: it would build in it, and be in the way of the build that waits.
    install.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    install.args(["install", "--quiet", "--locked", "--force", "--root"]).arg(&ours);
    command::run(install.arg(format!("bpf-linker@{VERSION}")))?;
    Ok(Linker { program: ours.join("bin/bpf-linker"), llvm })
}

fn is_right(program: &Path, llvm: &Path) -> bool {
    let asked = Command::new(program).arg("--version").env("LD_LIBRARY_PATH", llvm).output();
    asked
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == format!("bpf-linker {VERSION}"))
}

/// A directory that holds the compiler's LLVM and nothing else: the linker takes the first that it
/// finds, and a system may have several.
fn llvm_dir(toolchain: &Toolchain) -> Result<PathBuf> {
    let version = toolchain.llvm()?;
    let library = library(toolchain, &version)?;
    let dir = paths::target().join("ebpf/llvm").join(&version);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let link = dir.join(format!("libLLVM.so.{version}"));
    match fs::remove_file(&link) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", link.display()));
        }
        _ => symlink(&library, &link).with_context(|| format!("cannot make {}", link.display()))?,
    }
    Ok(dir)
}

fn library(toolchain: &Toolchain, version: &str) -> Result<PathBuf> {
    let name = format!("libLLVM.so.{version}");
    let in_sysroot = toolchain.sysroot.join("lib");
    let multiarch = in_sysroot.join(format!("{}-linux-gnu", std::env::consts::ARCH));
    for dir in [in_sysroot, multiarch, "/usr/lib64".into()] {
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
        files.sort();
        let fits = |file: &PathBuf| {
            file.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name.as_str()))
        };
        if let Some(file) = files.into_iter().find(fits) {
            return Ok(file);
        }
    }
    anyhow::bail!("cannot find {name}, the LLVM of {}", toolchain.rustc_line())
}
