//! The filesystems that the tests run on.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::{mounts, overlay};

const FILESYSTEMS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// A filesystem's name and where it is mounted.
pub(crate) type Mounted = (&'static str, String);

/// Mounts each disk; one that this kernel cannot mount is reported and left out.
pub(crate) fn mount() -> Vec<Mounted> {
    let disks = disks().unwrap_or_else(|error| {
        println!("init: no disks: {error:#}");
        BTreeMap::new()
    });
    let mut mounted = Vec::new();
    for filesystem in FILESYSTEMS.into_iter().chain(["tmpfs", "overlayfs"]) {
        let at = format!("/mnt/{filesystem}");
        let source = disks.get(filesystem).map_or(filesystem, String::as_str);
        let done = match filesystem {
            "overlayfs" => overlay::mount(source, &at),
            _ => mounts::filesystem_at(source, &at, filesystem, ""),
        };
        match done {
            Ok(()) => mounted.push((filesystem, at)),
            Err(error) => println!("init: no {filesystem}: {error:#}"),
        }
    }
    mounted
}

/// Devices by the serial number that the host gave them.
fn disks() -> Result<BTreeMap<String, String>> {
    let mut disks = BTreeMap::new();
    for entry in fs::read_dir("/sys/block").context("cannot list /sys/block")? {
        let entry = entry?;
        if let Ok(serial) = fs::read_to_string(entry.path().join("serial")) {
            disks.insert(serial.trim().to_owned(), format!("/dev/{}", entry.file_name().display()));
        }
    }
    Ok(disks)
}
