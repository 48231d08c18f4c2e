//! What the daemon still holds when all have gone.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::stat::{major, minor};
use serde_json::Value;
use upcall_common::wire::Target;

use super::plan::{GRACE, RECALL};
use crate::{
    daemon::Daemon,
    deadline::{LOOK, patience},
    program,
    raw::Raw,
};

/// For how long the state table knows a client of which a lease was revoked, at most.
const BACKOFF: Duration = Duration::from_secs(10);

/// Something that is left, if there is anything.
pub(super) fn left(daemon: &mut Daemon, root: &Path) -> Result<Option<String>> {
    let end = Instant::now() + GRACE + RECALL + BACKOFF + patience();
    while let Some(left) = look(daemon, root)? {
        if Instant::now() >= end {
            return Ok(Some(left));
        }
        thread::sleep(LOOK * 10);
    }
    // A fresh one that has attached its programs for somebody has as many, and that connection.
    let used = descriptors(daemon)?;
    daemon.restart()?;
    let mut somebody = Raw::welcomed(&daemon.unix(), "somebody")?;
    somebody.register(vec![Target::Path(root.as_os_str().as_encoded_bytes().to_vec())])?;
    let fresh = descriptors(daemon)? - 1;
    Ok((used > fresh).then(|| format!("{used} descriptors are open, {fresh} in a fresh daemon")))
}

fn look(daemon: &Daemon, root: &Path) -> Result<Option<String>> {
    let connect = daemon.unix().to_string();
    let shown = program::json_lines(["status", "--state", "--json", "--connect", &connect])?.pop();
    let shown = shown.context("`upcall status --state` printed nothing")?;
    let now = shown.get("now").and_then(Value::as_object).context("it shows no totals")?;
    if now.values().any(|count| count.as_u64() != Some(0)) {
        return Ok(Some(format!("the daemon holds {shown}")));
    }
    let device = fs::metadata(root)?.dev();
    let device = format!(" {:02x}:{:02x}:", major(device), minor(device));
    let locks = fs::read_to_string("/proc/locks")?;
    // Leases and locks of that filesystem, where nobody else is.
    Ok(locks.lines().find(|line| line.contains(&device)).map(|line| format!("the kernel holds {line}")))
}

fn descriptors(daemon: &Daemon) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", daemon.pid()))?.count())
}
