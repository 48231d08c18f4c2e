//! Of which filesystems inodes are watched. Pure state.

use std::collections::BTreeMap;

/// How many, by the kernel's device number.
#[derive(Debug, Default)]
pub(super) struct Devices(BTreeMap<u32, u32>);

impl Devices {
    pub(super) fn insert(&mut self, device: u32) {
        *self.0.entry(device).or_default() += 1;
    }

    pub(super) fn remove(&mut self, device: u32) {
        if let Some(count) = self.0.get_mut(&device) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&device);
            }
        }
    }

    /// Each device, once.
    pub(super) fn all(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_there_until_its_last_inode_is_not() {
        let mut devices = Devices::default();
        for device in [7, 9, 7] {
            devices.insert(device);
        }
        devices.remove(9);
        devices.remove(7);
        assert_eq!(devices.all(), [7]);
        devices.remove(7);
        devices.remove(7);
        assert_eq!(devices.all(), Vec::<u32>::new());
    }
}
