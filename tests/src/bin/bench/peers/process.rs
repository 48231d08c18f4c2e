//! A peer that is a process of its own.

use std::process::Child;

use tempfile::TempDir;

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Where its files are; removed after its end.
    _dir: Option<TempDir>,
}

impl Process {
    pub(super) fn of(child: Child, dir: Option<TempDir>) -> Self {
        Self { child, _dir: dir }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
