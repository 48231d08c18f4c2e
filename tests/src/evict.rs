//! Making the kernel drop inodes from memory, and knowing that it did.

use std::{fs, io, os::fd::AsRawFd, path::Path};

use anyhow::Result;

use crate::{deadline::wait_for, sys::evict::evictable_mark};

/// Waits until the file's inode is out of memory. `Err` inside: this machine does not let us.
pub fn evict(path: &Path) -> Result<io::Result<()>> {
    // A mark that goes with its inode.
    let marked = match evictable_mark(path) {
        Ok(marked) => marked,
        Err(error) => return Ok(Err(error)),
    };
    // What is to be written keeps an inode in memory.
    nix::unistd::sync();
    if let Err(error) = fs::write("/proc/sys/vm/drop_caches", "2") {
        return Ok(Err(error));
    }
    wait_for("the inode to leave memory", || {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        let marks = fs::read_to_string(format!("/proc/self/fdinfo/{}", marked.as_raw_fd()))?;
        Ok((!marks.contains("fanotify ino:")).then_some(()))
    })?;
    Ok(Ok(()))
}
