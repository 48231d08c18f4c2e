//! The daemon's side of the table that leads from keys to slots: its one writer.

use std::{
    collections::HashSet,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use upcall_common::{
    abi::Key,
    index::{self, Full, Place, Read, WORDS, Write},
};

/// What the BPF programs know as [`upcall_common::abi::Bucket`].
pub type Bucket = [AtomicU32; WORDS];

struct Line<'a>(&'a Bucket);

impl Read for Line<'_> {
    fn load(&self, word: usize) -> u32 {
        self.0[word].load(SeqCst)
    }
}

impl Write for Line<'_> {
    fn store(&self, word: usize, value: u32) {
        self.0[word].store(value, SeqCst);
    }
}

/// All buckets.
#[derive(Clone)]
pub struct Index {
    memory: Arc<dyn Deref<Target = [Bucket]> + Send + Sync>,
    seed: u64,
}

impl Index {
    /// The BPF programs know the same seed.
    pub fn new(memory: Arc<dyn Deref<Target = [Bucket]> + Send + Sync>, seed: u64) -> Self {
        Self { memory, seed }
    }

    /// The slot of those with the key's tag for which `is_it` holds.
    pub(super) fn find(&self, key: Key, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let place = self.place(key);
        self.lines(&place)?.iter().find_map(|line| index::find(line, &place, &is_it))
    }

    /// Enters a slot, whose key is stored in it already.
    pub(super) fn insert(&self, key: Key, slot: u32) -> Result<(), Full> {
        let place = self.place(key);
        let [first, second] = self.lines(&place).ok_or(Full)?;
        index::insert([&first, &second], &place, slot)
    }

    /// Whether the slot was there.
    pub(super) fn remove(&self, key: Key, slot: u32) -> bool {
        let place = self.place(key);
        self.lines(&place).is_some_and(|[first, second]| index::remove([&first, &second], &place, slot))
    }

    /// Every slot that is entered, after what leads to none is taken out. `key_of` knows the slots' keys.
    pub(super) fn repair(&self, key_of: impl Fn(u32) -> Option<Key>) -> HashSet<u32> {
        let place_of = |slot| key_of(slot).map(|key| self.place(key));
        let mut slots = HashSet::new();
        for (number, bucket) in (0..).zip(self.memory.iter()) {
            slots.extend(index::repair(&Line(bucket), number, place_of));
        }
        slots
    }

    fn place(&self, key: Key) -> Place {
        Place::of(key, self.seed, u32::try_from(self.memory.len()).unwrap_or(u32::MAX))
    }

    fn lines(&self, place: &Place) -> Option<[Line<'_>; 2]> {
        let [first, second] = place.buckets.map(|bucket| self.memory.get(bucket as usize));
        Some([Line(first?), Line(second?)])
    }
}
