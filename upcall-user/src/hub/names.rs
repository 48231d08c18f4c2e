//! Names of changed directory entries on their way to those who asked for them.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::mpsc::UnboundedSender;
use upcall_common::{
    abi::Originator,
    change::ENTRIES,
    wire::{EntryName, MAX_ENTRY_BYTES, MAX_ENTRY_NAMES, MAX_WAITING_BYTES},
};

use super::{Hub, State};
use crate::sys::handle::FileHandle;

/// A directory as the kernel names it in its reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Directory {
    /// Its `st_dev`: what `statfs` says is the same for copies of a filesystem.
    pub filesystem: u64,
    pub handle: FileHandle,
}

/// The kernel reports the names of this directory. Interests share it; the last one to go says so.
#[derive(Debug)]
pub struct Mark {
    directory: Directory,
    released: UnboundedSender<Directory>,
}

impl Mark {
    pub fn new(directory: Directory, released: UnboundedSender<Directory>) -> Self {
        Self { directory, released }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // Nobody listens when the daemon ends, and the kernel forgets all marks then.
        let _ = self.released.send(self.directory.clone());
    }
}

/// An entry of a directory has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub directory: Directory,
    pub entry: EntryName,
    /// 0: not known.
    pub tgid: u32,
}

/// What goes with an upcall.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub entries: Vec<EntryName>,
    /// Others have changed that are not named.
    pub incomplete: bool,
}

/// Names that wait for an interest that asked for them.
#[derive(Debug)]
pub struct Waiting {
    mark: Option<Arc<Mark>>,
    names: Names,
    bytes: usize,
}

impl Waiting {
    /// `None`: the kernel cannot report the names, so none is ever complete.
    pub fn new(mark: Option<Arc<Mark>>) -> Self {
        Self { mark, names: Names::default(), bytes: 0 }
    }

    pub(super) fn directory(&self) -> Option<&Directory> {
        self.mark.as_ref().map(|mark| &mark.directory)
    }

    /// Adds a name, or drops all where it does not fit. `total`: bytes that wait for the client.
    pub(super) fn push(&mut self, entry: &EntryName, total: &mut usize) {
        if self.names.incomplete {
            return;
        }
        let more = entry.wire_len();
        let fits = self.names.entries.len() < MAX_ENTRY_NAMES
            && self.bytes + more <= MAX_ENTRY_BYTES
            && *total + more <= MAX_WAITING_BYTES;
        if fits {
            self.names.entries.push(entry.clone());
            self.bytes += more;
            *total += more;
        } else {
            self.lose(total);
        }
    }

    /// No further change is named.
    pub(super) fn unmark(&mut self) {
        self.mark = None;
    }

    /// Some change is not named.
    pub(super) fn lose(&mut self, total: &mut usize) {
        self.take(total);
        self.names.incomplete = true;
    }

    /// Takes what waits.
    pub(super) fn take(&mut self, total: &mut usize) -> Names {
        *total = total.saturating_sub(std::mem::take(&mut self.bytes));
        let names = std::mem::take(&mut self.names);
        Names { incomplete: names.incomplete || self.mark.is_none(), ..names }
    }
}

/// Slots of the directories whose names somebody asked for.
#[derive(Debug, Default)]
pub(super) struct Directories {
    slots: HashMap<Directory, u32>,
    /// Mostly one each; more where a filesystem gives several the same number (btrfs).
    directories: HashMap<u32, Vec<Directory>>,
}

impl Directories {
    fn insert(&mut self, slot: u32, directory: Directory) {
        if self.slots.insert(directory.clone(), slot) != Some(slot) {
            self.directories.entry(slot).or_default().push(directory);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.directories.is_empty()
    }

    pub(super) fn remove(&mut self, slot: u32) {
        for directory in self.directories.remove(&slot).into_iter().flatten() {
            if self.slots.get(&directory) == Some(&slot) {
                self.slots.remove(&directory);
            }
        }
    }
}

impl Hub {
    /// An interest just made asks for names: of every change from here on.
    pub fn ask_names(&self, interest: u64, waiting: Waiting) {
        let mut state = self.lock();
        let directory = waiting.directory().cloned();
        if let Some(slot) = state.registry.ask_names(interest, waiting)
            && let Some(directory) = directory
        {
            state.directories.insert(slot, directory);
        }
    }

    /// Hands names to those who asked for them, and has them sent. At most about [`super::STEP`] at a time.
    pub fn name(&self, named: Vec<Named>) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for Named { directory, entry, tgid } in named {
            let Some(&slot) = state.directories.slots.get(&directory) else { continue };
            let originator = if tgid == 0 { Originator::Unknown } else { Originator::Process(tgid) };
            let State { registry, clients, .. } = &mut *state;
            let named = (&directory, &entry);
            if registry.name(slot, named, originator, |client| clients.process_lives(client)) {
                state.tell_as(slot, ENTRIES, originator, &mut wake);
            }
        }
        state.wake(&wake);
    }

    /// Slots of which names may have been lost: what [`Hub::lose_names`] is to be called with.
    pub fn named_slots(&self) -> Vec<u32> {
        self.lock().directories.directories.keys().copied().collect()
    }

    /// The kernel had more to report of these slots than it could keep.
    pub fn lose_names(&self, slots: &[u32]) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for &slot in slots {
            if state.registry.lose_names(slot) {
                state.tell(slot, ENTRIES, &mut wake);
            }
        }
        state.wake(&wake);
    }
}
