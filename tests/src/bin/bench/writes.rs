//! What a write of 64 bytes costs whoever makes it.

use std::{fs::File, os::unix::fs::FileExt};

use anyhow::Result;

use crate::{
    calls::{Cost, per_call},
    scale::Scale,
};

pub fn per_write(file: &File, batches: u32, batch: u32) -> Result<Cost> {
    per_call(batches, batch, || Ok(file.write_at(&[1; 64], 0).map(drop)?))
}

/// As [`per_write`] does it in each round of each state.
pub fn sample(file: &File, scale: &Scale) -> Result<Cost> {
    per_write(file, scale.batches, scale.batch)
}
