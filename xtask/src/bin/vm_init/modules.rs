//! Kernel modules, in the order in which the host has listed them.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

use crate::ORDERS;

/// Loads all; one that cannot be loaded is reported, and what needs it then fails by itself.
pub(crate) fn load() -> Result<()> {
    let list = fs::read_to_string(format!("{ORDERS}/modules")).context("cannot read the list of modules")?;
    for name in list.lines() {
        let path = format!("/lib/modules/{name}.ko");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => println!("init: module {name} cannot be loaded: {error}"),
        }
    }
    Ok(())
}
