//! Tests that cannot run here say so, past the capture of the test harness.

use std::io::Write;
use std::thread;

/// Whether the test has to be skipped for want of root.
pub(crate) fn needs_root() -> bool {
    let missing = !nix::unistd::geteuid().is_root();
    if missing {
        skipped("needs root");
    }
    missing
}

pub(crate) fn skipped(why: &str) {
    let current = thread::current();
    // One write, so that tests beside this one don't cut the line.
    let line = format!("SKIPPED {}: {why}\n", current.name().unwrap_or_default());
    // Only tells; a closed stderr is no reason to fail.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
