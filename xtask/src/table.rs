//! `cargo xtask table`: README's table of the ways a file changes, from the data that everybody uses.

use std::fs;

use anyhow::{Context, Result, bail};
use upcall_common::paths::Table;

use crate::paths;

/// Writes the table into README.md.
pub(crate) fn run() -> Result<()> {
    let path = paths::root().join("README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some((before, rest)) = text.split_once(Table::BEGIN) else {
        bail!("README.md has no line {:?}", Table::BEGIN);
    };
    let Some((_, after)) = rest.split_once(Table::END) else {
        bail!("README.md has no line {:?}", Table::END);
    };
    let text = format!("{before}{}\n{Table}{}{after}", Table::BEGIN, Table::END);
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
