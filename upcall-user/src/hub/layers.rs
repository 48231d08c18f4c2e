//! Overlays. What is spliced into a file of an overlay, or stored to a mapping of it, changes the inode of the
//! layer below alone; so that one is made an alias of the overlay's. A file has no inode in the upper layer before
//! it is copied up, which nothing reports: such a slot is looked at now and then.

use std::time::Duration;

use upcall_common::{
    abi::{Key, Probe},
    change::OTHER,
};

use super::State;

/// Between two looks whether a file has been copied up: how late a change may be told that is the first one after it.
const LOOK: Duration = Duration::from_secs(1);

impl State {
    /// Makes the inode below an alias of the slot's. What has changed by that: anything, if a file has been
    /// copied up since the last look.
    pub(super) fn follow_layer(&mut self, slot: u32, probe: &Probe) -> u32 {
        if !self.has_layer(probe) {
            return 0;
        }
        let below = Some(probe.upper).filter(|key| *key != Key::default());
        if self.below.get(&slot) == below.as_ref() || self.registry.watched(slot).is_none() {
            return 0;
        }
        self.leave_layer(slot);
        let Some(below) = below else { return 0 };
        if let Err(error) = self.kernel.add_alias(below, slot) {
            tracing::error!(%error, "cannot watch the inode below an overlay's");
            return OTHER;
        }
        self.below.insert(slot, below);
        OTHER
    }

    /// The slot's inode has no alias any more.
    pub(super) fn leave_layer(&mut self, slot: u32) {
        if let Some(below) = self.below.remove(&slot) {
            self.remove_alias(below);
        }
    }

    pub(super) fn remove_alias(&mut self, below: Key) {
        if let Err(error) = self.kernel.remove_alias(below) {
            tracing::warn!(%error, "cannot let go of the inode below an overlay's");
        }
    }

    /// When to look whether the inode has been copied up.
    pub(super) fn layer_look(&self, probe: &Probe) -> Option<Duration> {
        (self.has_layer(probe) && probe.upper == Key::default()).then_some(LOOK)
    }

    fn has_layer(&self, probe: &Probe) -> bool {
        probe.overlay != 0 && self.kernel.needs_aliases()
    }
}
