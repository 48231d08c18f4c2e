//! Attributes beside marks: told with a version only if they are whole, and of it.

use loom::thread;
use upcall_common::{abi::Word, change::DATA};

use crate::{explore, memory::Memory, slot::Nowhere, variant::*};

/// A mark after a change of the inode; returns its version.
fn marker<V: Variant>(memory: &Memory, bit: u64) -> impl FnOnce() -> (u64, u64) + 'static {
    let slot = memory.side();
    move || {
        let mut marked = 0;
        slot.change(bit);
        V::mark(&slot, &Nowhere, 0, Word::of_unknown(DATA), |version| {
            marked = version;
            V::store_attrs(&slot, version);
        });
        (marked, bit)
    }
}

/// One mark comes first, so that there is something to tell from the start; `beside` come while it is told.
fn told<V: Variant>(beside: &[u64]) {
    let memory = Memory::new();
    let first = marker::<V>(&memory, 1)();
    let markers: Vec<_> = beside.iter().map(|bit| thread::spawn(marker::<V>(&memory, *bit))).collect();
    let slot = memory.side();
    let (_, version) = V::take(&slot, &mut 0);
    let attrs = V::attrs(&slot, version);
    let marks = markers.into_iter().map(|marker| marker.join().expect("a marker ends"));
    let covered = marks.chain([first]).filter(|(marked, _)| *marked <= version);
    let bits = covered.fold(0, |bits, (_, bit)| bits | bit);
    if let Some([a, b]) = attrs {
        assert_eq!(a, b, "attributes are torn");
        assert_eq!(a & bits, bits, "attributes are older than their version");
    }
}

fn check<V: Variant>() {
    explore(None, || told::<V>(&[2]));
}

#[test]
fn attributes_are_whole_and_of_their_version() {
    check::<Real>();
}

#[test]
fn attributes_are_whole_and_of_their_version_beside_two_marks() {
    explore(Some(2), || told::<Real>(&[2, 4]));
}

#[test]
#[should_panic(expected = "attributes are torn")]
fn attributes_stored_without_the_lock_are_caught() {
    check::<AttrsAreStoredWithoutTheLock>();
}

#[test]
#[should_panic(expected = "attributes are torn")]
fn a_lock_looked_at_last_both_times_is_caught() {
    check::<LockIsLookedAtLast>();
}

#[test]
#[should_panic(expected = "attributes are older than their version")]
fn attributes_of_any_version_are_caught() {
    check::<AttrsOfAnyVersion>();
}
