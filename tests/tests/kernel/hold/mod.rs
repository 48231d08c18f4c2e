//! The kernel's means to hold local processes to what clients have been granted.

mod leases;
mod ranges;
mod shares;

use std::{os::unix::fs::MetadataExt, path::Path};

use tests::Result;
use upcall_common::abi::Key;
use upcall_user::{hold::Programs, source::Layout};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    leases::add(trials);
    ranges::add(trials);
    shares::add(trials);
}

fn programs() -> Result<Programs> {
    Ok(Programs::open(&Layout::of_running_kernel()?.offsets()?)?)
}

/// Filesystems where the key of a file can be told from the outside.
const TOLD: [&str; 3] = ["ext4", "xfs", "tmpfs"];

/// On [`TOLD`].
fn key(file: &Path) -> Result<Key> {
    let metadata = file.metadata()?;
    let [major, minor] = [libc::major(metadata.dev()), libc::minor(metadata.dev())];
    Ok(Key::new(major << 20 | minor, metadata.ino()))
}
