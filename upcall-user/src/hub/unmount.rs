//! The end of filesystems: their inodes leave memory, and no mark says so.

use super::{Gone, Hub, State};

/// What a step through the watched inodes of a filesystem found.
#[derive(Debug, Default)]
pub struct Look {
    /// Inodes that are in memory.
    pub alive: usize,
    /// Those that are not.
    pub gone: Vec<Gone>,
    /// Where the next step begins; `None`: this was the last one.
    pub next: Option<u32>,
}

impl Hub {
    /// The kernel's device numbers of all filesystems with watched inodes.
    pub fn devices(&self) -> Vec<u32> {
        self.lock().devices.all()
    }

    /// Looks which inodes of a filesystem are in memory: a step, from slot `from` on.
    pub fn look(&self, device: u32, from: u32) -> Look {
        self.lock().look(device, from)
    }

    /// A filesystem is mounted nowhere: its inodes that are in memory no more have ended, and clients are told.
    /// A step, from slot `from` on.
    pub fn unmounted(&self, device: u32, from: u32) -> Look {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let look = state.look(device, from);
        for gone in &look.gone {
            state.forget(gone, &mut wake);
        }
        state.wake(&wake);
        look
    }
}

impl State {
    fn look(&mut self, device: u32, from: u32) -> Look {
        let (slots, next) = self.step(from);
        let mut look = Look { next, ..Look::default() };
        for slot in slots {
            let of_device = self.slots.get(slot).is_some_and(|view| view.key().dev == device);
            if !of_device || !self.registry.is_attached(slot) {
                continue;
            }
            match self.probe(slot) {
                Ok(_) => look.alive += 1,
                Err(gone) => look.gone.extend(gone),
            }
        }
        look
    }
}
