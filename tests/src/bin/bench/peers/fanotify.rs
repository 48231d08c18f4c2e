//! fanotify with a mark on a filesystem; events that carry a handle, and so no descriptor to close.

use std::{os::fd::OwnedFd, path::Path};

use anyhow::{Context, Result};
use nix::{
    fcntl::AT_FDCWD,
    sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags},
};

pub(super) fn mark_filesystem(path: &Path) -> Result<OwnedFd> {
    let flags = InitFlags::FAN_CLOEXEC | InitFlags::from_bits_retain(libc::FAN_REPORT_FID);
    let fanotify = Fanotify::init(flags, EventFFlags::O_RDONLY).context("cannot start fanotify")?;
    let marked = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
    fanotify
        .mark(marked, MaskFlags::FAN_MODIFY, AT_FDCWD, Some(path))
        .with_context(|| format!("fanotify cannot mark the filesystem of {}", path.display()))?;
    Ok(fanotify.into())
}

/// Each event begins with its length.
pub(super) fn count(mut events: &[u8]) -> usize {
    let mut count = 0;
    while let Some(length) = events.first_chunk() {
        let length = u32::from_ne_bytes(*length) as usize;
        let Some(rest) = events.get(length.max(1)..) else { break };
        events = rest;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_as_long_as_they_say() {
        let mut bytes = Vec::new();
        for length in [24_u32, 56, 24] {
            bytes.extend(length.to_ne_bytes());
            bytes.extend(vec![7; length as usize - 4]);
        }
        assert_eq!(count(&bytes), 3);
        assert_eq!(count(&bytes[..100]), 2);
        assert_eq!(count(&[]), 0);
    }
}
