//! Changes that the kernel side could not mark: nobody knows of which inode, so every client must start anew.

use std::sync::Arc;

use tokio::{
    sync::{Mutex, watch},
    task::yield_now,
};

use crate::{hub::Hub, source::Skips};

/// How many gaps there have been, and how they are found.
pub struct Gaps {
    skips: Arc<Skips>,
    hub: Arc<Hub>,
    count: watch::Sender<u64>,
    /// Held for the whole of a look: who looks next must not find that all has been told before it has.
    looking: Mutex<()>,
}

impl Gaps {
    pub fn new(skips: Arc<Skips>, hub: Arc<Hub>) -> Self {
        Self { skips, hub, count: watch::Sender::new(0), looking: Mutex::default() }
    }

    /// Looks whether there has been one since the last look. Not `periodic`: somebody wants to know now.
    pub async fn look(&self, periodic: bool) {
        let _alone = self.looking.lock().await;
        match self.skips.look(periodic) {
            Ok(finding) => {
                if finding.gap {
                    tracing::warn!("the kernel skipped BPF programs: all clients are told to resync");
                    // One that is cut off before it hears of it must not be told `unchanged` when it comes back; and
                    // what is under way is to be known before anybody reads it.
                    let mut next = Some(0);
                    while let Some(from) = next {
                        next = self.hub.distrust(from);
                        yield_now().await;
                    }
                    self.count.send_modify(|count| *count += 1);
                }
                self.skips.told(&finding);
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    /// Changes with each gap.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }
}
