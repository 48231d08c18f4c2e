//! Disks with a filesystem each, made on the host: the machine then needs no mkfs.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{command, packages};

const MIB: u64 = 1 << 20;

/// A filesystem, the size of its disk (each mkfs has a least size), and how to make it without asking.
const FILESYSTEMS: [(&str, u64, &[&str]); 3] = [
    // fs-verity needs blocks as large as pages on older kernels.
    ("ext4", 64 * MIB, &["-q", "-F", "-b", "4096", "-O", "verity,project"]),
    ("xfs", 320 * MIB, &["-q", "-f"]),
    ("btrfs", 128 * MIB, &["-q", "-f"]),
];

/// A disk image; the machine sees `filesystem` as the disk's serial number.
pub(super) struct Disk {
    pub(super) filesystem: &'static str,
    pub(super) image: PathBuf,
}

/// Fresh images in `dir`, sparse, so that they take little of the disk.
pub(super) fn make(dir: &Path) -> Result<Vec<Disk>> {
    let make = |&(filesystem, size, options): &(&'static str, u64, &[&str])| {
        let image = dir.join(format!("{filesystem}.img"));
        let file = File::create(&image).with_context(|| format!("cannot make {}", image.display()))?;
        file.set_len(size).with_context(|| format!("cannot size {}", image.display()))?;
        let mkfs = format!("mkfs.{filesystem}");
        let mkfs = packages::find(&mkfs).with_context(|| format!("{mkfs} is not installed"))?;
        // What it prints is of no interest; why it fails goes to standard error.
        command::output(Command::new(mkfs).args(options).arg(&image))?;
        Ok(Disk { filesystem, image })
    };
    FILESYSTEMS.iter().map(make).collect()
}
