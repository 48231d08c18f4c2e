//! `cargo xtask ebpf`: builds the committed BPF object, or checks it against a fresh build.

mod build;
mod inventory;
mod linker;
mod record;
mod strip;
mod toolchain;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, ensure};

use crate::paths;
use inventory::Inventory;
use record::Record;

/// Exit code of `--check` when this machine's toolchain is not the recorded one.
pub(crate) const NOT_COMPARED: u8 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build aside and compare with the committed object instead of replacing it. Exit code 1: they
    /// differ; 3: another toolchain made the committed object, so that bytes could not be compared
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let toolchain = toolchain::find()?;
    println!("ebpf: {}", toolchain.rustc_line());
    let object = strip::debug_sections(&build::build(&toolchain)?)?;
    let record = Record::new(&toolchain, &object);
    if args.check { check(&record, &object) } else { write(&record, &object) }
}

fn write(record: &Record, object: &[u8]) -> Result<ExitCode> {
    let crate_dir = paths::root().join("upcall-ebpf");
    for (name, bytes) in [("upcall.bpf.o", object), ("upcall.bpf.toolchain", record.to_string().as_bytes())] {
        let path = crate_dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("ebpf: wrote upcall-ebpf/upcall.bpf.o ({} bytes): {}", object.len(), Inventory::read(object)?);
    Ok(ExitCode::SUCCESS)
}

fn check(fresh: &Record, object: &[u8]) -> Result<ExitCode> {
    let crate_dir = paths::root().join("upcall-ebpf");
    let read = |name: &str| {
        let path = crate_dir.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}; run: cargo xtask ebpf", path.display()))
    };
    let committed = read("upcall.bpf.o")?;
    let recorded = Record::parse(&String::from_utf8_lossy(&read("upcall.bpf.toolchain")?))?;
    ensure!(
        recorded.sha256 == record::sha256(&committed),
        "upcall-ebpf/upcall.bpf.o is not the object that upcall.bpf.toolchain records; run: cargo xtask ebpf"
    );
    if recorded.toolchain == fresh.toolchain {
        ensure!(
            committed == object,
            "upcall-ebpf/upcall.bpf.o differs from what the sources give; run: cargo xtask ebpf"
        );
        println!("ebpf: the committed object is what the sources give, byte for byte");
        return Ok(ExitCode::SUCCESS);
    }
    let (old, new) = (Inventory::read(&committed)?, Inventory::read(object)?);
    ensure!(
        old == new,
        "the committed object holds {old}, the sources give {new}; run: cargo xtask ebpf\n{}",
        old.difference(&new)
    );
    println!("ebpf: toolchain differs: bytes not compared; the same programs and maps are in both: {old}");
    println!("ebpf: recorded:\n{}\nebpf: here:\n{}", recorded.toolchain, fresh.toolchain);
    Ok(ExitCode::from(NOT_COMPARED))
}
