//! The registry's part in names of entries: which interests get them.

use upcall_common::{abi::Originator, change::ENTRIES, wire::EntryName};

use super::{ClientIndex, Registry};
use crate::hub::names::{Directory, Waiting};

impl Registry {
    /// From now on names wait for the interest as well. Its slot, unless it has gone already.
    pub(in crate::hub) fn ask_names(&mut self, interest: u64, waiting: Waiting) -> Option<u32> {
        let (index, found) = self.interests.find(interest)?;
        self.names.insert(index, waiting);
        Some(found.slot)
    }

    /// Hands a name to everybody who asked for those of the directory and is told of such changes. Whether any of
    /// them has no upcall waiting with which it goes.
    pub(in crate::hub) fn name(
        &mut self,
        slot: u32,
        (directory, entry): (&Directory, &EntryName),
        originator: Originator,
        mut alive: impl FnMut(ClientIndex) -> bool,
    ) -> bool {
        let mut untold = false;
        let Some(watched) = self.inodes.get(slot) else { return false };
        let (clients, names) = (&mut self.clients, &mut self.names);
        self.interests.each(&watched.interests, |index, interest| {
            let Some(client) = clients.get_mut(interest.client()) else { return };
            let Some(names) = names.get_mut(&index) else { return };
            if names.directory() != Some(directory) {
                return;
            }
            let own = interest.wish.is_own(originator, client.process) && alive(interest.client());
            if interest.ended() || client.left || own {
                return;
            }
            names.push(entry, &mut client.waiting_bytes);
            untold |= interest.pending & ENTRIES == 0;
        });
        untold
    }

    /// Bytes of all names that wait for the client.
    #[cfg(test)]
    pub(in crate::hub) fn waiting_bytes_of(&self, client: ClientIndex) -> usize {
        self.clients.get(client).map_or(0, |client| client.waiting_bytes)
    }

    /// The kernel reports no names of the slot's directory any more. Whether anybody has to be told.
    pub(in crate::hub) fn unmark_names(&mut self, slot: u32) -> bool {
        if let Some(watched) = self.inodes.get(slot) {
            let names = &mut self.names;
            self.interests.each(&watched.interests, |index, _| {
                if let Some(names) = names.get_mut(&index) {
                    names.unmark();
                }
            });
        }
        self.lose_names(slot)
    }

    /// Names of the slot got lost. Whether anybody has to be told.
    pub(in crate::hub) fn lose_names(&mut self, slot: u32) -> bool {
        let mut lost = false;
        let Some(watched) = self.inodes.get(slot) else { return false };
        let (clients, names) = (&mut self.clients, &mut self.names);
        self.interests.each(&watched.interests, |index, interest| {
            let Some(client) = clients.get_mut(interest.client()) else { return };
            let Some(names) = names.get_mut(&index) else { return };
            names.lose(&mut client.waiting_bytes);
            lost |= !interest.ended() && !client.left;
        });
        lost
    }
}
