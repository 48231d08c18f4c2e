//! The daemon's view of the slots that it shares with the BPF programs, and who of them is free.

use std::{
    collections::{HashSet, VecDeque},
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use upcall_common::{
    abi::{Attrs, Key, Slot, Word},
    index::Full,
    protocol,
};

use super::Index;

/// A slot as words: what the BPF programs know as [`Slot`].
pub type Words = [AtomicU64; WORDS];
const WORDS: usize = size_of::<Slot>() / 8;
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Slot, net) == 8 * NET && offset_of!(Slot, attrs) == 8 * ATTRS);
    assert!(offset_of!(Slot, unsettled) == 8 * UNSETTLED);
};

const PENDING: usize = 0;
const VERSION: usize = 1;
const INODE: usize = 2;
const KEY: usize = 3;
const GENERATION_AND_LOCK: usize = 5;
const ATTRS_VERSION: usize = 6;
const ATTRS: usize = 7;
pub(super) const NET: usize = 13;
const UNSETTLED: usize = 14;

/// One slot.
#[derive(Clone, Copy)]
pub struct View<'a>(&'a Words);

impl<'a> View<'a> {
    pub(super) fn new(words: &'a Words) -> Self {
        Self(words)
    }

    /// Takes what is pending.
    pub fn take(&self) -> Word {
        protocol::take(self)
    }

    /// As [`protocol::version`].
    pub fn version_taken(&self, since: impl FnMut(u64) -> u64) -> (u64, u64) {
        protocol::version(self, since)
    }

    pub fn is_dirty(&self) -> bool {
        self.0[PENDING].load(SeqCst) != 0
    }

    pub fn version(&self) -> u64 {
        self.0[VERSION].load(SeqCst)
    }

    /// Raises the version for a change that the kernel side did not count; returns the new one.
    pub fn raise(&self) -> u64 {
        self.0[VERSION].fetch_add(1, SeqCst) + 1
    }

    /// Where the inode was last seen.
    pub fn inode(&self) -> u64 {
        self.0[INODE].load(SeqCst)
    }

    pub fn set_inode(&self, address: u64) {
        self.0[INODE].store(address, SeqCst);
    }

    /// What the safety net saw and no hook has told of since: see [`Slot::net`].
    pub fn take_net(&self) -> u64 {
        protocol::take_net(self)
    }

    pub fn has_net(&self) -> bool {
        self.0[NET].load(SeqCst) != 0
    }

    /// Whether something may be still to be told: see [`Slot::unsettled`].
    pub fn is_unsettled(&self) -> bool {
        self.0[UNSETTLED].load(SeqCst) != 0
    }

    pub fn set_unsettled(&self, unsettled: bool) {
        self.0[UNSETTLED].store(u64::from(unsettled), SeqCst);
    }

    pub fn key(&self) -> Key {
        Key::from_words([self.0[KEY].load(SeqCst), self.0[KEY + 1].load(SeqCst)])
    }

    pub fn generation(&self) -> u32 {
        self.0[GENERATION_AND_LOCK].load(SeqCst) as u32
    }

    /// The attributes, if they are those of `version` and nobody was storing others meanwhile.
    pub fn attrs(&self, version: u64) -> Option<Attrs> {
        protocol::attrs(self, version, || self.last_attrs())
    }

    /// The attributes stored last, whatever version they are of.
    pub fn last_attrs(&self) -> Attrs {
        Attrs::from_words(std::array::from_fn(|i| self.0[ATTRS + i].load(SeqCst)))
    }

    /// Stores what the daemon has read itself, as the attributes of `version`.
    pub fn set_attrs(&self, version: u64, attrs: &Attrs) {
        protocol::store_attrs(self, version, || {
            for (word, value) in self.0[ATTRS..].iter().zip(attrs.words()) {
                word.store(value, SeqCst);
            }
        });
    }

    /// Nobody can store attributes now.
    pub fn is_locked(&self) -> bool {
        self.0[GENERATION_AND_LOCK].load(SeqCst) >> 32 != 0
    }

    /// Whoever held the lock is gone.
    pub fn unlock(&self) {
        self.0[GENERATION_AND_LOCK].fetch_and(u64::from(u32::MAX), SeqCst);
    }
}

impl protocol::Slot for View<'_> {
    type Word = AtomicU64;

    fn pending(&self) -> &AtomicU64 {
        &self.0[PENDING]
    }

    fn version(&self) -> &AtomicU64 {
        &self.0[VERSION]
    }

    fn lock(&self) -> &AtomicU64 {
        &self.0[GENERATION_AND_LOCK]
    }

    fn attrs_version(&self) -> &AtomicU64 {
        &self.0[ATTRS_VERSION]
    }

    fn net(&self) -> &AtomicU64 {
        &self.0[NET]
    }
}

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
        let words = self.memory.get(slot as usize)?;
        let version = self.version_floor;
        self.version_floor = version.saturating_add(TENURE);
        for (word, value) in words[KEY..].iter().zip(key.words()) {
            word.store(value, SeqCst);
        }
        words[GENERATION_AND_LOCK].store(u64::from(generation), SeqCst);
        words[ATTRS_VERSION].store(0, SeqCst);
        words[NET].store(0, SeqCst);
        words[UNSETTLED].store(0, SeqCst);
        words[VERSION].fetch_max(version, SeqCst);
        words[PENDING].store(0, SeqCst);
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
    use std::sync::{Arc, atomic::AtomicU32};

    use upcall_common::index::buckets;

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
