//! fatrace: prints a line for each event of a filesystem.

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tests::deadline::{LOOK, wait_for};

use super::{Tool, process::Process};

/// Tells of writes, on the filesystem of `path`; returns once it does.
pub(super) fn start(path: &Path) -> Result<(Process, OwnedFd)> {
    let mut child = Command::new(Tool::Fatrace.find()?)
        .args(["--current-mount", "--filter=W"])
        .current_dir(path.parent().context("a file without a directory")?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start fatrace")?;
    let lines: OwnedFd = child.stdout.take().context("fatrace has no output")?.into();
    let process = Process::of(child, None);
    let file = File::options().write(true).open(path)?;
    wait_for("fatrace to tell of a write", || {
        file.write_at(&[0], 0)?;
        let mut ready = [PollFd::new(lines.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut ready, PollTimeout::try_from(LOOK)?)?;
        Ok((ready > 0).then_some(()))
    })?;
    Ok((process, lines))
}
