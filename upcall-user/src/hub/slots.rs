//! The daemon's view of the slots that it shares with the BPF programs, and who of them is free.

pub(super) mod view;

use std::{
    collections::{HashSet, VecDeque},
    ops::Deref,
    time::{Duration, Instant},
};

use upcall_common::{abi::Key, index::Full};

pub use view::{View, Words};

use super::Index;

/// A freed slot may still be marked by a program that looked it up before; by then it must not belong to
/// another inode. Such programs run for microseconds.
pub(super) const QUARANTINE: Duration = Duration::from_millis(100);

/// Versions that an inode has to itself each time it gets a slot. A client that registers a name again may mean another
/// inode by now: that one's version must not be the one it holds. (One that outgrows this may share some, and an equal
/// one then is a coincidence in millions.)
const TENURE: u64 = 1 << 24;

/// All slots.
pub struct Slots {
    memory: Box<dyn Deref<Target = [Words]> + Send>,
    index: Index,
    /// Slots below this one have been in use.
    fresh: u32,
    freed: VecDeque<(Instant, u32)>,
    /// Above every version that a freed slot ever had, and apart from those of the others: an inode that comes back in
    /// another slot must not repeat a version.
    version_floor: u64,
}

impl Slots {
    pub fn new(memory: Box<dyn Deref<Target = [Words]> + Send>, index: Index) -> Self {
        Self { memory, index, fresh: 0, freed: VecDeque::new(), version_floor: 1 }
    }

    pub fn capacity(&self) -> u32 {
        u32::try_from(self.memory.len()).unwrap_or(u32::MAX)
    }

    pub fn get(&self, slot: u32) -> Option<View<'_>> {
        self.memory.get(slot as usize).map(View::new)
    }

    /// The slot that changes of the inode mark.
    pub fn find(&self, key: Key) -> Option<u32> {
        self.index.find(key, |slot| self.get(slot).is_some_and(|view| view.key() == key))
    }

    /// Whether the slot is, or was last, this inode's.
    pub fn is_of(&self, slot: u32, key: Key, generation: u32) -> bool {
        self.get(slot).is_some_and(|view| (view.key(), view.generation()) == (key, generation))
    }

    /// From now on, changes of the slot's inode mark it.
    pub fn enter(&self, slot: u32) -> Result<(), Full> {
        self.index.insert(self.get(slot).ok_or(Full)?.key(), slot)
    }

    /// Changes of its inode mark the slot no more.
    pub fn leave(&self, slot: u32) {
        if let Some(view) = self.get(slot) {
            self.index.remove(view.key(), slot);
        }
    }

    /// Every slot that is entered, by whatever daemon.
    pub fn entered(&self) -> HashSet<u32> {
        self.index.repair(|slot| self.get(slot).map(|view| view.key()))
    }

    /// Slots that are, or may become, dirty: those that have ever been in use.
    pub fn used(&self) -> u32 {
        self.fresh
    }

    /// Slots that may be allocated, some of them only when they have rested.
    pub fn left(&self) -> usize {
        (self.capacity() - self.fresh) as usize + self.freed.len()
    }

    /// Takes over memory in which an earlier daemon had these slots in use.
    pub fn adopt(&mut self, used: &HashSet<u32>, now: Instant) {
        self.fresh = used.iter().max().map_or(0, |last| last + 1);
        self.freed = (0..self.fresh).filter(|slot| !used.contains(slot)).map(|slot| (now, slot)).collect();
        let versions = self.memory.iter().map(|words| View::new(words).version());
        self.version_floor = versions.max().unwrap_or_default().saturating_add(TENURE);
    }

    /// A slot for an inode; `None` when all are taken.
    pub fn allocate(&mut self, key: Key, generation: u32, now: Instant) -> Option<u32> {
        let slot = match self.freed.front() {
            Some((since, _)) if now.duration_since(*since) >= QUARANTINE => {
                self.freed.pop_front().map(|(_, slot)| slot)?
            }
            _ if self.fresh < self.capacity() => {
                self.fresh += 1;
                self.fresh - 1
            }
            _ => return None,
        };
        let view = self.memory.get(slot as usize).map(View::new)?;
        let version = self.version_floor;
        self.version_floor = version.saturating_add(TENURE);
        view.begin(key, generation, version);
        Some(slot)
    }

    /// The slot, which has been left, is nobody's any more.
    pub fn free(&mut self, slot: u32, now: Instant) {
        if let Some(view) = self.get(slot) {
            self.version_floor = self.version_floor.max(view.version() + 1);
            self.freed.push_back((now, slot));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    };

    use upcall_common::{abi::Attrs, index::buckets};

    use super::*;

    pub(crate) fn memory(slots: usize) -> Box<dyn Deref<Target = [Words]> + Send> {
        Box::new((0..slots).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect::<Vec<Words>>())
    }

    pub(crate) fn index(slots: u32) -> Index {
        let bucket = |_| std::array::from_fn(|_| AtomicU32::new(0));
        Index::new(Arc::new((0..buckets(slots)).map(bucket).collect::<Vec<_>>()), 1)
    }

    #[test]
    fn a_slot_is_found_by_its_key_while_it_is_entered() {
        let mut slots = Slots::new(memory(3), index(3));
        let key = Key::new(1, 1);
        let slot = slots.allocate(key, 0, Instant::now()).expect("slot");
        assert_eq!(slots.find(key), None);
        slots.enter(slot).expect("room");
        assert_eq!((slots.find(key), slots.find(Key::new(2, 1))), (Some(slot), None));
        slots.leave(slot);
        assert_eq!(slots.find(key), None);
    }

    #[test]
    fn a_freed_slot_rests_before_it_is_used_again() {
        let mut slots = Slots::new(memory(2), index(2));
        let start = Instant::now();
        let a = slots.allocate(Key::new(1, 1), 0, start).expect("first");
        let b = slots.allocate(Key::new(1, 2), 0, start).expect("second");
        assert_ne!(a, b);
        assert_eq!(slots.allocate(Key::new(1, 3), 0, start), None);
        slots.free(a, start);
        assert_eq!(slots.allocate(Key::new(1, 3), 0, start + QUARANTINE / 2), None);
        assert_eq!(slots.allocate(Key::new(1, 3), 0, start + QUARANTINE), Some(a));
    }

    #[test]
    fn versions_never_repeat_across_slots() {
        let mut slots = Slots::new(memory(2), index(2));
        let now = Instant::now();
        let a = slots.allocate(Key::new(1, 1), 0, now).expect("slot");
        let seen = (0..5).map(|_| slots.get(a).expect("slot").raise()).max().expect("versions");
        slots.free(a, now);
        let b = slots.allocate(Key::new(1, 1), 0, now).expect("slot");
        assert!(slots.get(b).expect("slot").version() > seen);
    }

    #[test]
    fn attributes_are_trusted_for_their_version_only() {
        let mut slots = Slots::new(memory(1), index(1));
        let slot = slots.allocate(Key::new(1, 1), 0, Instant::now()).expect("slot");
        let view = slots.get(slot).expect("slot");
        let attrs = Attrs { size: 7, nlink: 2, mode: 0o644, ..Attrs::default() };
        let version = view.raise();
        view.set_attrs(version, &attrs);
        assert_eq!(view.attrs(version), Some(attrs));
        assert_eq!(view.attrs(view.raise()), None);
    }
}
