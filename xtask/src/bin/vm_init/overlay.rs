//! An overlay, with its layers on a disk of their own.

use std::fs;

use anyhow::{Context, Result};

use crate::mounts;

/// Mounts the disk at `AT.layers`, where the tests look for the layers, and the overlay at `at`.
pub(crate) fn mount(disk: &str, at: &str) -> Result<()> {
    let layers = format!("{at}.layers");
    mounts::filesystem_at(disk, &layers, "xfs", "")?;
    for name in ["lower", "upper", "work"] {
        let dir = format!("{layers}/{name}");
        fs::create_dir(&dir).with_context(|| format!("cannot make {dir}"))?;
    }
    let options = format!("lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work");
    mounts::filesystem_at("overlay", at, "overlay", &options)
}
