//! The registry's part in names of entries: which interests get them.

use upcall_common::{abi::Originator, change::ENTRIES, wire::EntryName};

use super::{ClientIndex, InterestIndex, Registry, id};
use crate::hub::names::{Directory, Waiting};

impl Registry {
    /// From now on names wait for the interest as well. Its slot, unless it has gone already.
    pub(in crate::hub) fn ask_names(&mut self, interest: u64, waiting: Waiting) -> Option<u32> {
        let index = interest as InterestIndex;
        let found = self.interests.get_mut(index as usize)?;
        (id(found.serial, index) == interest).then(|| {
            found.names = Some(Box::new(waiting));
            found.slot
        })
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
        let Some(watched) = self.watched.get(&slot) else { return false };
        for &index in &watched.interests {
            let Some(interest) = self.interests.get_mut(index as usize) else { continue };
            let Some(client) = self.clients.get_mut(interest.client) else { continue };
            let Some(names) = &mut interest.names else { continue };
            if names.directory() != Some(directory) {
                continue;
            }
            let own = interest.wish.is_own(originator, client.process) && alive(interest.client);
            if interest.ended || client.left || own {
                continue;
            }
            names.push(entry, &mut client.waiting_bytes);
            untold |= interest.pending & ENTRIES == 0;
        }
        untold
    }

    /// Bytes of all names that wait for the client.
    #[cfg(test)]
    pub(in crate::hub) fn waiting_bytes_of(&self, client: ClientIndex) -> usize {
        self.clients.get(client).map_or(0, |client| client.waiting_bytes)
    }

    /// The kernel reports no names of the slot's directory any more. Whether anybody has to be told.
    pub(in crate::hub) fn unmark_names(&mut self, slot: u32) -> bool {
        for &index in self.watched.get(&slot).map_or(&[][..], |watched| &watched.interests) {
            if let Some(names) = self.interests.get_mut(index as usize).and_then(|it| it.names.as_mut()) {
                names.unmark();
            }
        }
        self.lose_names(slot)
    }

    /// Names of the slot got lost. Whether anybody has to be told.
    pub(in crate::hub) fn lose_names(&mut self, slot: u32) -> bool {
        let mut lost = false;
        let Some(watched) = self.watched.get(&slot) else { return false };
        for &index in &watched.interests {
            let Some(interest) = self.interests.get_mut(index as usize) else { continue };
            let Some(client) = self.clients.get_mut(interest.client) else { continue };
            let Some(names) = &mut interest.names else { continue };
            names.lose(&mut client.waiting_bytes);
            lost |= !interest.ended && !client.left;
        }
        lost
    }
}
