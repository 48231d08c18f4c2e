//! Changes that the kernel side could not mark: nobody knows of which inode, so every client must start anew.

use std::sync::Arc;

use tokio::sync::watch;

use crate::source::Misses;

/// How many gaps there have been, and how they are found.
pub struct Gaps {
    misses: Arc<Misses>,
    count: watch::Sender<u64>,
}

impl Gaps {
    pub fn new(misses: Arc<Misses>) -> Self {
        Self { misses, count: watch::Sender::new(0) }
    }

    /// Looks whether there has been one since the last look.
    pub fn look(&self) {
        match self.misses.has_gap() {
            Ok(false) => {}
            Ok(true) => {
                tracing::warn!("the kernel skipped BPF programs: all clients are told to resync");
                self.count.send_modify(|count| *count += 1);
            }
            Err(error) => tracing::error!(%error, "cannot ask the kernel whether it skipped BPF programs"),
        }
    }

    /// Changes with each gap.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}
