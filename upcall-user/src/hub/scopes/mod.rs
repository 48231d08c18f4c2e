//! Interests in what lies below a directory. BPF programs decide at each change whether an inode is below one, and put
//! those that are into a pool of *children*, each once however often it changes. Here they are taken, looked at once
//! they are at rest, and told to whoever is interested in a directory above where they were, or are now.

pub(super) mod place;
mod pool;
mod settle;
mod take;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use upcall_common::abi::{Key, SCOPE_CHILDREN, SCOPE_SUBTREE};

use super::{ClientIndex, Hub, State, devices::Devices, trail::Trail};
pub use place::{Below, Located, PlaceWords};
pub use pool::{ChildWords, Pool};
pub(super) use settle::Changed;
pub use take::{Child, Fate};

/// What an interest is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    #[default]
    Inode,
    /// A directory, and what lies directly in it.
    Children,
    /// A directory, and everything below it.
    Subtree,
}

impl Scope {
    const fn bits(self) -> u64 {
        match self {
            Self::Inode => 0,
            Self::Children => SCOPE_CHILDREN,
            Self::Subtree => SCOPE_SUBTREE | SCOPE_CHILDREN,
        }
    }
}

/// What the hub knows of children.
pub(super) struct Children {
    pool: Pool,
    trail: Trail,
    /// Where they were when they were looked at last: those alone that have been looked at, and are not at rest.
    known: HashMap<u32, Vec<Below>>,
    /// Slots of directories with a scope.
    roots: BTreeSet<u32>,
    /// Of which filesystems there are scopes.
    devices: Devices,
}

impl Children {
    pub(super) fn new(pool: Pool, tick: u64) -> Self {
        Self {
            pool,
            trail: Trail::new(tick),
            known: HashMap::new(),
            roots: BTreeSet::new(),
            devices: Devices::default(),
        }
    }
}

impl Hub {
    /// Takes changes off children.
    #[must_use]
    pub fn take_changed_children(&self, dirty: impl IntoIterator<Item = u32>) -> Vec<ClientIndex> {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for child in dirty {
            state.take_child(child, &mut wake);
        }
        state.look_for_rescan(&mut wake);
        wake
    }

    /// Looks at every child: the ring could not name them all.
    pub fn scan_children(&self) {
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.catch_up_children(from);
        }
    }

    /// How long it takes until what has been marked before there was a scope is visible, but for what goes on longer.
    pub fn scope_delay(&self) -> Option<Duration> {
        let state = self.lock();
        state.kernel.marks_early().then(|| Duration::from_nanos(state.tick))
    }

    /// What was taken for an interest cannot be told: its client has to look itself.
    pub fn rescan(&self, client: ClientIndex, interest: u64) {
        let mut state = self.lock();
        let Some(slot) = state.registry.slot_of(client, interest) else { return };
        // Others may have been told a version above that of what was taken: this one is above theirs.
        let Some(version) = state.slots.get(slot).map(|view| view.raise()) else { return };
        state.registry.marks_taken(slot, version);
        state.registry.rescan(interest, version);
        state.wake(&[client]);
    }
}

impl State {
    /// From now on, changes below the slot's directory are marked, too.
    pub(super) fn widen(&mut self, slot: u32, scope: Scope) -> std::io::Result<()> {
        let Some(view) = self.slots.get(slot) else { return Ok(()) };
        let (before, dev) = (view.scope(), view.key().dev);
        view.set_scope(before | scope.bits());
        if before == 0 && scope != Scope::Inode {
            self.kernel.scope(dev, true)?;
            self.children.devices.insert(dev);
            self.children.roots.insert(slot);
        }
        Ok(())
    }

    /// Changes below the slot's directory are not marked any more.
    pub(super) fn narrow(&mut self, slot: u32) {
        let Some(view) = self.slots.get(slot) else { return };
        let dev = view.key().dev;
        if view.scope() == 0 {
            return;
        }
        view.set_scope(0);
        self.children.devices.remove(dev);
        self.children.roots.remove(&slot);
        if !self.children.devices.has(dev)
            && let Err(error) = self.kernel.scope(dev, false)
        {
            tracing::error!(%error, "cannot end the scopes of a filesystem");
        }
    }
}

/// Names an inode among those that wait.
pub(super) type ChildKey = (Key, u32);
