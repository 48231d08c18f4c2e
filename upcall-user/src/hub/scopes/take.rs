//! Children on their way to those who are interested.

use upcall_common::{
    abi::{Attrs, Key},
    change::RESCAN,
};

use super::settle::Changed;
use crate::hub::{ClientIndex, Hub, Origin, State};

/// What has become of a child, as far as an interest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// It was not in the scope before, or did not exist.
    Appeared,
    /// It is not in the scope any more.
    Gone,
}

/// A changed inode below the directory of an interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub interest: u64,
    pub cookie: u64,
    pub changes: u32,
    /// Of the directory's slot.
    pub version: u64,
    pub key: Key,
    pub generation: u32,
    pub directory: bool,
    /// It has other names.
    pub links: bool,
    pub attrs: Option<Attrs>,
    pub fate: Fate,
    /// Relative to the directory.
    pub path: Vec<u8>,
    /// Where it was before, if it was below the directory.
    pub old_path: Option<Vec<u8>>,
    /// The directory's.
    pub root: Option<Origin>,
}

impl Hub {
    /// Takes up to `max` children that wait for the client, with turns up to `last`.
    pub fn take_children(&self, client: ClientIndex, max: usize, last: u64) -> Vec<Child> {
        let mut state = self.lock();
        state.registry.take_children(client, max, last)
    }

    /// Children that were taken have been told, or will be before all that is told from now on.
    pub fn children_told(&self, client: ClientIndex) {
        self.lock().registry.children_told(client);
    }

    /// Whether children wait for the client.
    pub fn has_children(&self, client: ClientIndex) -> bool {
        self.lock().registry.has_children(client)
    }

    /// Whether the client is interested in what lies below some directory.
    pub fn has_scopes(&self, client: ClientIndex) -> bool {
        self.lock().registry.has_scopes(client)
    }

    /// Makes sure that every change below directories that was complete before this call waits for the clients. Goes a
    /// step, beginning with `from`; returns where to go on.
    pub fn catch_up_children(&self, from: u32) -> Option<u32> {
        let mut state = self.lock();
        let mut wake = Vec::new();
        let next = state.catch_up_children(from, &mut wake);
        state.wake(&wake);
        next
    }
}

impl State {
    /// Hands a child on.
    pub(super) fn tell_child(&mut self, changed: Changed, wake: &mut Vec<ClientIndex>) {
        let mut roots: Vec<u32> = changed.before.iter().chain(&changed.now).map(|below| below.root).collect();
        roots.sort_unstable();
        roots.dedup();
        for root in roots {
            let Some(version) =
                self.slots.get(root).filter(|view| view.scope() != 0).map(|view| view.raise())
            else {
                continue;
            };
            // It counts as told with the directory's versions.
            self.registry.marks_taken(root, version);
            let clients = &self.clients;
            self.registry.change_below(root, &changed, version, |it| clients.process_lives(it), wake);
        }
    }

    /// The kernel side may have been unable to say what changed.
    pub(super) fn look_for_rescan(&mut self, wake: &mut Vec<ClientIndex>) {
        if self.kernel.take_rescan() {
            self.rescan_scopes(wake);
        }
    }

    /// Something has changed below some directory, and nobody knows what; whoever comes back to one later hears that it
    /// has changed.
    pub(super) fn rescan_scopes(&mut self, wake: &mut Vec<ClientIndex>) {
        for slot in self.children.roots.clone() {
            self.tell(slot, RESCAN, wake);
        }
    }
}
