//! The index from key to slot, as one side that reads and writes, against a map of the standard library.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashMap},
};

use proptest::prelude::*;
use upcall_common::{
    abi::Key,
    index::{self, Full, Place, Read, WORDS, Write},
};

struct Bucket([Cell<u32>; WORDS]);

impl Read for Bucket {
    fn load(&self, word: usize) -> u32 {
        self.0[word].get()
    }
}

impl Write for Bucket {
    fn store(&self, word: usize, value: u32) {
        self.0[word].set(value);
    }
}

/// The index, and the keys of the slots.
struct Index {
    buckets: Vec<Bucket>,
    keys: Vec<Key>,
    seed: u64,
}

impl Index {
    fn new(slots: u32, seed: u64) -> Self {
        let buckets = (0..index::buckets(slots)).map(|_| Bucket(std::array::from_fn(|_| Cell::new(0))));
        Self { buckets: buckets.collect(), keys: vec![Key::default(); slots as usize], seed }
    }

    fn place(&self, key: Key) -> Place {
        Place::of(key, self.seed, self.buckets.len() as u32)
    }

    fn buckets_of(&self, place: &Place) -> [&Bucket; 2] {
        place.buckets.map(|bucket| &self.buckets[bucket as usize])
    }

    fn insert(&mut self, key: Key, slot: u32) -> Result<(), Full> {
        self.keys[slot as usize] = key;
        let place = self.place(key);
        index::insert(self.buckets_of(&place), &place, slot)
    }

    fn remove(&self, key: Key, slot: u32) -> bool {
        let place = self.place(key);
        index::remove(self.buckets_of(&place), &place, slot)
    }

    fn find(&self, key: Key) -> Option<u32> {
        let place = self.place(key);
        let is_it = |slot: u32| self.keys[slot as usize] == key;
        self.buckets_of(&place).into_iter().find_map(|bucket| index::find(bucket, &place, is_it))
    }

    fn repair(&self) -> Vec<u32> {
        let place_of = |slot: u32| self.keys.get(slot as usize).map(|key| self.place(*key));
        let buckets = (0..).zip(&self.buckets);
        buckets.flat_map(|(number, bucket)| index::repair(bucket, number, place_of)).collect()
    }
}

/// Numbers in an order that has nothing to do with theirs.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xd1b5_4a32_d192_ed03)
}

proptest! {
    #[test]
    fn it_is_a_map(seed: u64, ops in prop::collection::vec((0_u32..24, 1_u64..40, any::<bool>()), 0..400)) {
        let (mut index, mut model) = (Index::new(24, seed), HashMap::new());
        for (slot, ino, insert) in ops {
            let (key, owner) = (Key::new(7, ino), index.keys[slot as usize]);
            let used = model.get(&owner) == Some(&slot);
            if !insert {
                prop_assert_eq!(index.remove(owner, slot), used);
                model.retain(|_, other| *other != slot);
            } else if !used && !model.contains_key(&key) {
                prop_assert_eq!(index.insert(key, slot), Ok(()));
                model.insert(key, slot);
            }
            for ino in 1..40 {
                let key = Key::new(7, ino);
                prop_assert_eq!(index.find(key), model.get(&key).copied());
            }
        }
        let left: BTreeSet<u32> = index.repair().into_iter().collect();
        prop_assert_eq!(left, model.values().copied().collect());
    }

    #[test]
    fn a_key_has_two_buckets(seed: u64, dev: u32, ino: u64, slots in 1_u32..100_000) {
        let buckets = index::buckets(slots);
        let [first, second] = Place::of(Key::new(dev, ino), seed, buckets).buckets;
        prop_assert!(first < buckets && second < buckets && first != second);
    }
}

/// As many inodes as there are slots, their numbers in a row or all over, and a new one in the place of each.
#[test]
fn a_full_table_has_room_for_every_slot() {
    for slots in [1, 1000, 65_536, 1_048_576] {
        for (seed, number) in [(1, std::convert::identity as fn(u64) -> u64), (2, scattered)] {
            let mut index = Index::new(slots, seed);
            for slot in 0..slots {
                assert_eq!(
                    index.insert(Key::new(1, number(u64::from(slot))), slot),
                    Ok(()),
                    "slot {slot} of {slots}"
                );
            }
            for slot in 0..slots {
                assert!(index.remove(index.keys[slot as usize], slot));
                let ino = number(u64::from(slots) + u64::from(slot));
                assert_eq!(index.insert(Key::new(1, ino), slot), Ok(()), "slot {slot} of {slots} again");
            }
            assert!((0..slots).all(|slot| index.find(index.keys[slot as usize]) == Some(slot)));
        }
    }
}

#[test]
fn what_has_no_room_is_refused_and_harms_nobody() {
    let mut index = Index::new(1, 1);
    index.keys = vec![Key::default(); 100];
    let inserted: Vec<bool> =
        (0..100).map(|slot| index.insert(Key::new(1, u64::from(slot)), slot).is_ok()).collect();
    assert_eq!(
        inserted.iter().filter(|inserted| **inserted).count(),
        index.buckets.len() * index::BUCKET_ENTRIES
    );
    for (slot, inserted) in (0..).zip(inserted) {
        assert_eq!(index.find(Key::new(1, u64::from(slot))), inserted.then_some(slot));
    }
}

#[test]
fn a_repair_takes_out_what_leads_elsewhere() {
    let mut index = Index::new(1000, 1);
    for slot in 0..4 {
        assert_eq!(index.insert(Key::new(1, u64::from(slot)), slot), Ok(()));
    }
    // Another inode's by now, and a slot that is not there.
    index.keys[1] = Key::new(1, 77);
    index.keys.truncate(3);
    let mut left = index.repair();
    left.sort_unstable();
    assert_eq!(left, [0, 2]);
    index.keys[1] = Key::new(1, 1);
    let found = [0, 1, 2].map(|ino| index.find(Key::new(1, ino)));
    assert_eq!(found, [Some(0), None, Some(2)], "it is gone for good");
}
