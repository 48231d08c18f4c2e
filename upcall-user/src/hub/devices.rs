//! Which slots are of which filesystem. Pure state.

use std::collections::BTreeSet;

/// Pairs of the kernel's device number and a slot.
#[derive(Debug, Default)]
pub(super) struct Devices(BTreeSet<(u32, u32)>);

impl Devices {
    pub(super) fn insert(&mut self, device: u32, slot: u32) {
        self.0.insert((device, slot));
    }

    pub(super) fn remove(&mut self, device: u32, slot: u32) {
        self.0.remove(&(device, slot));
    }

    /// Each device with slots, once.
    pub(super) fn all(&self) -> Vec<u32> {
        let mut next = self.0.first().copied();
        let mut all = Vec::new();
        while let Some((device, _)) = next {
            all.push(device);
            next = self.0.range((device, u32::MAX)..).find(|(of, _)| *of != device).copied();
        }
        all
    }

    /// Up to `max` slots of the device, from slot `from` on.
    pub(super) fn slots(&self, device: u32, from: u32, max: usize) -> Vec<u32> {
        self.0.range((device, from)..=(device, u32::MAX)).take(max).map(|(_, slot)| *slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_device_in_steps() {
        let mut devices = Devices::default();
        for (device, slot) in [(7, 1), (7, 5), (7, u32::MAX), (9, 2), (u32::MAX, 3)] {
            devices.insert(device, slot);
        }
        assert_eq!(devices.all(), [7, 9, u32::MAX]);
        assert_eq!(devices.slots(7, 0, 2), [1, 5]);
        assert_eq!(devices.slots(7, 6, 2), [u32::MAX]);
        assert_eq!(devices.slots(8, 0, 2), Vec::<u32>::new());
        devices.remove(9, 2);
        assert_eq!(devices.all(), [7, u32::MAX]);
    }
}
