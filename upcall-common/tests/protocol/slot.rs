//! Marks of one slot, while the dispatcher and a barrier take from it.

use loom::thread;
use upcall_common::{
    abi::{Originator, Word},
    change::{DATA, MODE},
    protocol::{Ring, Shared},
};

use crate::{
    explore,
    memory::{DaemonSlot, KernelWord, Memory},
    variant::*,
};

/// Takes come by themselves.
pub struct Nowhere;

impl Ring for Nowhere {
    type Word = KernelWord;

    fn submit(&self, _: u32) -> bool {
        true
    }

    fn submit_wake(&self) {}

    fn scan(&self) -> Option<&KernelWord> {
        None
    }
}

/// Each changes something else, and so is known by its bit.
const WRITERS: [(u32, u32); 2] = [(DATA, 5), (MODE, 6)];

struct Told {
    changes: u32,
    originator: Originator,
    version: u64,
    /// What a client reads of the inode then.
    seen: u64,
}

fn take<V: Variant>(slot: &DaemonSlot, taken: &mut u64, told: &mut Vec<Told>) {
    let (word, version) = V::take(slot, taken);
    if !word.is_clean() {
        let (changes, originator) = (word.changes(), word.originator());
        told.push(Told { changes, originator, version, seen: slot.inode.load() });
    }
}

fn marked_and_taken<V: Variant>() {
    let memory = Memory::new();
    let markers = WRITERS.map(|(changes, tgid)| {
        let slot = memory.side();
        thread::spawn(move || {
            let mut version = 0;
            slot.change(u64::from(changes));
            V::mark(&slot, &Nowhere, 0, Word::of_process(changes, tgid), |is| version = is);
            version
        })
    });
    let slot = memory.side();
    let (mut taken, mut told) = (0, Vec::new());
    // Whose takes these are makes no difference: they come one by one, under the hub's lock.
    take::<V>(&slot, &mut taken, &mut told);
    take::<V>(&slot, &mut taken, &mut told);
    let versions = markers.map(|marker| marker.join().expect("a marker ends"));
    take::<V>(&slot, &mut taken, &mut told);

    for ((changes, _), version) in WRITERS.into_iter().zip(versions) {
        let last = told.iter().rfind(|told| told.changes & changes != 0).expect("a change was lost");
        assert!(last.version >= version, "a version does not cover its change");
        assert!(last.seen & u64::from(changes) != 0, "a change was told before it was visible");
    }
    assert!(told.is_sorted_by(|a, b| a.version < b.version), "a version was told twice");
    for told in told {
        let alone = WRITERS.into_iter().find(|(changes, _)| *changes == told.changes);
        let expected = alone.map_or(Originator::Unknown, |(_, tgid)| Originator::Process(tgid));
        assert_eq!(told.originator, expected, "an originator is wrong");
    }
}

fn check<V: Variant>() {
    explore(None, marked_and_taken::<V>);
}

#[test]
fn every_mark_is_told_with_a_version_of_its_own_that_covers_it() {
    check::<Real>();
}

#[test]
#[should_panic(expected = "a version does not cover its change")]
fn a_version_read_before_the_take_is_caught() {
    check::<VersionIsReadBeforeTheTake>();
}

#[test]
#[should_panic(expected = "a version does not cover its change")]
fn a_version_that_rises_after_the_bits_is_caught() {
    check::<VersionRisesAfterTheBits>();
}

#[test]
#[should_panic(expected = "a version was told twice")]
fn a_version_that_is_not_raised_is_caught() {
    check::<VersionsAreNotRaised>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_take_by_load_and_store_is_caught() {
    check::<TakenByLoadAndStore>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn bits_loaded_then_stored_are_caught() {
    check::<BitsAreLoadedThenStored>();
}
