//! Disks with a filesystem each, made on the host: the machine then needs no mkfs.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{command, packages};

const MIB: u64 = 1 << 20;

/// A disk's name, the filesystem on it, its size (each mkfs has a least one), and how to make it unasked.
type Layout = (&'static str, &'static str, u64, &'static [&'static str]);

/// The overlay's layers are on xfs, which can share extents between files.
const DISKS: [Layout; 4] = [
    // fs-verity needs blocks as large as pages on older kernels.
    ("ext4", "ext4", 64 * MIB, &["-q", "-F", "-b", "4096", "-O", "verity,project"]),
    ("xfs", "xfs", 320 * MIB, &["-q", "-f"]),
    ("btrfs", "btrfs", 128 * MIB, &["-q", "-f"]),
    ("overlayfs", "xfs", 320 * MIB, &["-q", "-f"]),
];

/// A disk image; the machine sees `name` as the disk's serial number.
pub(super) struct Disk {
    pub(super) name: &'static str,
    pub(super) image: PathBuf,
}

/// Fresh images in `dir`, sparse, so that they take little of the disk.
pub(super) fn make(dir: &Path) -> Result<Vec<Disk>> {
    let make = |&(name, filesystem, size, options): &Layout| {
        let image = dir.join(format!("{name}.img"));
        let file = File::create(&image).with_context(|| format!("cannot make {}", image.display()))?;
        file.set_len(size).with_context(|| format!("cannot size {}", image.display()))?;
        let mkfs = format!("mkfs.{filesystem}");
        let mkfs = packages::find(&mkfs).with_context(|| format!("{mkfs} is not installed"))?;
        // What it prints is of no interest; why it fails goes to standard error.
        command::output(Command::new(mkfs).args(options).arg(&image))?;
        Ok(Disk { name, image })
    };
    DISKS.iter().map(make).collect()
}
