//! inotify.

use std::{fs, os::fd::OwnedFd, path::PathBuf};

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// `struct inotify_event` without a name: files have none.
const EVENT_BYTES: usize = 16;

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";

/// While it lives, at least so many watches may be made.
#[derive(Debug)]
pub struct Allowed {
    before: String,
}

pub fn allow(watches: usize) -> Result<Allowed> {
    let before = fs::read_to_string(LIMIT).context("cannot read the limit of watches")?;
    if before.trim().parse::<usize>()? < watches {
        fs::write(LIMIT, watches.to_string()).context("cannot raise the limit of watches")?;
    }
    Ok(Allowed { before })
}

impl Drop for Allowed {
    fn drop(&mut self) {
        let _ = fs::write(LIMIT, &self.before);
    }
}

/// A watch for each path.
pub fn watch_all(paths: &[PathBuf]) -> Result<OwnedFd> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).context("cannot start inotify")?;
    for path in paths {
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY).with_context(|| {
            format!("inotify cannot watch {}: see fs.inotify.max_user_watches", path.display())
        })?;
    }
    Ok(inotify.into())
}

pub(super) fn count(events: &[u8]) -> usize {
    events.len() / EVENT_BYTES
}
