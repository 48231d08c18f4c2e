//! Load: another file, written as fast as can be.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use anyhow::Result;

use crate::worker::Worker;

pub(super) fn start(root: &Path) -> Result<Worker> {
    let file = File::create(root.join("storm"))?;
    Ok(Worker::start(move || file.write_at(&[1; 64], 0).is_ok()))
}
