//! Changes that the kernel side could not mark: nobody knows of which inode, so every client must start anew.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{hub::Hub, source::Misses};

/// How many gaps there have been, and how they are found.
pub struct Gaps {
    misses: Arc<Misses>,
    hub: Arc<Hub>,
    count: watch::Sender<u64>,
}

impl Gaps {
    pub fn new(misses: Arc<Misses>, hub: Arc<Hub>) -> Self {
        Self { misses, hub, count: watch::Sender::new(0) }
    }

    /// Looks whether there has been one since the last look. Not at its `turn`: somebody wants to know now.
    pub fn look(&self, turn: bool) {
        match self.misses.look(turn) {
            Ok(look) => {
                if look.gap {
                    tracing::warn!("the kernel skipped BPF programs: all clients are told to resync");
                    // One that is cut off before it hears of it must not be told `unchanged` when it comes back.
                    self.hub.distrust();
                    self.count.send_modify(|count| *count += 1);
                }
                self.misses.told(&look);
            }
            Err(error) => tracing::error!(%error, "cannot ask the kernel whether it skipped BPF programs"),
        }
    }

    /// Changes with each gap.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}
