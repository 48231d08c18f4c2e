//! What the kernel says of the descriptors of a process.

use std::{fs, io};

/// One text for each.
pub fn of(pid: u32) -> io::Result<Vec<String>> {
    // One that has been closed meanwhile says nothing.
    let text = |entry: io::Result<fs::DirEntry>| Ok(fs::read_to_string(entry?.path()).unwrap_or_default());
    fs::read_dir(format!("/proc/{pid}/fdinfo"))?.map(text).collect()
}
