//! inotify.

use std::{os::fd::OwnedFd, path::PathBuf};

use anyhow::{Context, Result};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// `struct inotify_event` without a name: files have none.
const EVENT_BYTES: usize = 16;

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
