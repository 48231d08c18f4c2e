//! Changes on their way from a slot to those who are interested.

use upcall_common::{
    abi::Originator,
    change::{ALL, EARLY, FORGET, NET, NLINK},
};

use super::{ClientIndex, State, registry::Taken};

impl State {
    /// A mark has been taken of which something may be still to be told.
    pub(super) fn note(&mut self, slot: u32, changes: u32, originator: Originator) {
        if let Some(view) = self.slots.get(slot) {
            view.set_unsettled(true);
        }
        self.trail.note(slot, changes, originator, self.kernel.coarse_now());
    }

    /// Takes what is pending in a slot and hands it on.
    pub(super) fn take(&mut self, slot: u32, wake: &mut Vec<ClientIndex>) {
        let Some(view) = self.slots.get(slot) else { return };
        let word = view.take();
        if word.is_clean() {
            return;
        }
        let (changes, originator) = (word.changes(), word.originator());
        let early = self.kernel.marks_early() || changes & EARLY != 0;
        let netted = changes & NET != 0;
        let changes = changes & ALL;
        let attached = self.registry.is_attached(slot);
        if (early || netted) && attached {
            // What a hook has told of, and only the net is to be looked at for, is not told again.
            let (changes, originator) = if early { (changes, originator) } else { (0, Originator::Unknown) };
            self.note(slot, changes, originator);
        }
        if changes == 0 {
            // The safety net alone: a hook is about to tell, or the trail will.
            return;
        }
        let Some(view) = self.slots.get(slot) else { return };
        let (version, marks) = view.version_taken(|version| self.registry.marks_taken(slot, version));
        if changes & NLINK != 0 && attached {
            // Where nobody knows, it is looked at.
            let attrs = self.slots.get(slot).and_then(|view| view.attrs(version));
            self.orphan(slot, attrs.map_or(0, |attrs| attrs.nlink));
        }
        self.totals.takes += 1;
        self.hand_on(Taken { slot, changes, originator, version, marks }, wake);
    }

    /// Tells a change that the kernel side did not mark.
    pub(super) fn tell(&mut self, slot: u32, changes: u32, wake: &mut Vec<ClientIndex>) {
        self.tell_as(slot, changes, Originator::Unknown, wake);
    }

    pub(super) fn tell_as(
        &mut self,
        slot: u32,
        changes: u32,
        originator: Originator,
        wake: &mut Vec<ClientIndex>,
    ) -> u64 {
        let Some(view) = self.slots.get(slot) else { return 0 };
        let version = view.raise();
        let marks = self.registry.marks_taken(slot, version);
        self.totals.retold += 1;
        self.hand_on(Taken { slot, changes, originator, version, marks }, wake);
        version
    }

    fn hand_on(&mut self, taken: Taken, wake: &mut Vec<ClientIndex>) {
        let clients = &self.clients;
        self.registry.change(taken, |client| clients.process_lives(client), wake);
        if taken.changes & FORGET != 0 {
            self.detach(taken.slot);
            if self.unclaimed.remove(taken.slot).is_some() {
                self.release(taken.slot);
            }
        }
    }

    pub(super) fn wake(&self, clients: &[ClientIndex]) {
        for &client in clients {
            self.clients.notify(client);
        }
    }
}
