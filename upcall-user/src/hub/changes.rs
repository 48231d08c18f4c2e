//! Changes on their way from a slot to those who are interested, and as upcalls to their connections.

use upcall_common::{
    abi::{Attrs, Originator},
    change::{ALL, EARLY, FORGET, NET, NLINK},
};

use super::{
    ClientIndex, Gone, Hub, Names, State,
    registry::{Provenance, Taken},
};

/// An upcall that is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcall {
    pub interest: u64,
    pub cookie: u64,
    pub changes: u32,
    pub version: u64,
    pub attrs: Option<Attrs>,
    pub ended: bool,
    pub names: Names,
    /// For who has come by [`Hub::join`].
    pub provenance: Option<Provenance>,
}

impl Hub {
    /// Takes changes off slots; returns the clients that nothing waited for before, for [`Hub::wake`].
    #[must_use]
    pub fn take(&self, dirty: impl IntoIterator<Item = u32>) -> Vec<ClientIndex> {
        self.lock().take_each(dirty)
    }

    /// Upcalls wait for the client.
    pub fn wake(&self, client: ClientIndex) {
        self.lock().clients.notify(client);
    }

    /// Takes changes off slots and wakes the clients.
    pub fn dispatch(&self, dirty: impl IntoIterator<Item = u32>) {
        let mut state = self.lock();
        let wake = state.take_each(dirty);
        state.wake(&wake);
    }

    /// Looks at every slot: the ring could not name them all.
    pub fn scan(&self) {
        self.lock().totals.scans += 1;
        let mut next = Some(0);
        // In steps, so that connections get the lock in between.
        while let Some(from) = next {
            let mut state = self.lock();
            let (slots, after) = state.step(from);
            let wake = state.take_each(slots);
            state.wake(&wake);
            next = after;
        }
    }

    /// Slots of the inodes that a client is interested in: what [`Hub::catch_up`] is to be called with.
    pub fn slots_of(&self, client: ClientIndex) -> Vec<u32> {
        self.lock().registry.slots_of(client)
    }

    /// Makes sure that every change of these slots completed before this call waits for the clients (or has
    /// been sent). For more than [`super::STEP`] slots call it several times and let others run in between.
    pub fn catch_up(&self, slots: &[u32]) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.look_for_skips();
        for &slot in slots {
            state.take(slot, &mut wake);
            state.retell(slot, &mut wake);
        }
        state.wake(&wake);
    }

    /// The last turn in a client's queue: once the upcalls up to it are sent, all that waits now is sent.
    pub fn last_turn(&self, client: ClientIndex) -> u64 {
        self.lock().registry.last_turn(client)
    }

    /// The inode that a slot stood for is deleted.
    pub fn deleted(&self, gone: &Gone) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.forget(gone, &mut wake);
        state.wake(&wake);
    }

    /// Takes up to `max` upcalls that wait for the client, with turns up to `last`.
    pub fn take_upcalls(&self, client: ClientIndex, max: usize, last: u64) -> Vec<Upcall> {
        let mut state = self.lock();
        let mut dropped = Vec::new();
        let pending = state.registry.take(client, max, last, &mut dropped);
        let upcalls = pending
            .into_iter()
            .map(|it| Upcall {
                interest: it.interest,
                cookie: it.cookie,
                changes: it.changes,
                version: it.version,
                attrs: state.slots.get(it.slot).and_then(|slot| slot.attrs(it.version)),
                ended: it.ended,
                names: it.names,
                provenance: it.provenance,
            })
            .collect();
        state.dropped(dropped, State::release);
        upcalls
    }
}

impl State {
    /// Slots are settled by what is known of skipped hooks now; marks from here on count from it.
    pub(super) fn look_for_skips(&mut self) {
        self.trail.skipped = self.kernel.skipped();
    }

    /// A mark has been taken of which something may be still to be told.
    pub(super) fn note(&mut self, slot: u32, changes: u32, originator: Originator) {
        if let Some(view) = self.slots.get(slot) {
            view.set_unsettled(true);
        }
        self.trail.note(slot, changes, originator, self.kernel.coarse_now());
    }

    /// Takes what is pending in slots; returns the clients to be woken.
    fn take_each(&mut self, slots: impl IntoIterator<Item = u32>) -> Vec<ClientIndex> {
        let mut wake = Vec::new();
        for slot in slots {
            self.take(slot, &mut wake);
        }
        wake
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
