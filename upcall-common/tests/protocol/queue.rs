//! From marks of two slots through a ring with room for one: whoever sleeps until it is woken hears of all.

use std::sync::Arc;

use loom::thread;
use upcall_common::{
    abi::{SCAN, Word},
    protocol::{Reader, Shared},
};

use crate::{explore, memory, ring, variant::*};

const SLOTS: usize = 2;

struct World {
    slots: [memory::Memory; SLOTS],
    ring: Arc<ring::Memory>,
}

impl World {
    fn new() -> Self {
        Self { slots: std::array::from_fn(|_| memory::Memory::new()), ring: ring::Memory::new() }
    }

    /// A mark of the slot, by a process of its own, which changes what nobody else does.
    fn marker<V: Variant>(&self, index: usize, tgid: u32) -> impl FnOnce() + 'static {
        let (slot, ring) = (self.slots[index].side(), ring::Writer::new(&self.ring));
        move || {
            slot.change(1 << tgid);
            let index = u32::try_from(index).expect("few slots");
            V::mark(&slot, &ring, index, Word::of_process(1 << tgid, tgid), |_| ());
        }
    }

    fn dispatcher<V: Variant>(&self) -> Dispatcher<V> {
        Dispatcher {
            slots: std::array::from_fn(|index| self.slots[index].side()),
            ring: ring::Records::new(&self.ring),
            named: Vec::new(),
            taken: [0; SLOTS],
            told: [0; SLOTS],
            seen: [0; SLOTS],
            variant: std::marker::PhantomData,
        }
    }
}

struct Dispatcher<V> {
    slots: [memory::DaemonSlot; SLOTS],
    ring: ring::Records,
    named: Vec<u32>,
    taken: [u64; SLOTS],
    told: [u64; SLOTS],
    /// What a client read when it was told last.
    seen: [u64; SLOTS],
    variant: std::marker::PhantomData<V>,
}

impl<V: Variant> Dispatcher<V> {
    fn take_from(&mut self, index: usize) {
        let slot = &self.slots[index];
        let (word, _) = V::take(slot, &mut self.taken[index]);
        if !word.is_clean() {
            self.told[index] |= u64::from(word.changes());
            self.seen[index] = slot.inode.load();
        }
    }

    fn turn_if_ready(&mut self) -> bool {
        let ready = self.ring.ready();
        if ready {
            V::turn(self);
        }
        ready
    }
}

impl<V: Variant> Reader for Dispatcher<V> {
    fn drain(&mut self) -> bool {
        while let Some(record) = self.ring.next() {
            self.named.push(record);
        }
        true
    }

    fn arm(&mut self) {
        self.ring.arm();
    }

    fn take(&mut self) {
        for index in std::mem::take(&mut self.named) {
            if index != SCAN {
                self.take_from(index as usize);
            }
        }
    }

    fn take_scan(&mut self) -> bool {
        V::take_scan(&self.ring.scan)
    }

    fn scan(&mut self) {
        (0..SLOTS).for_each(|index| self.take_from(index));
    }
}

/// Marks by `before` come first; those by `beside` while the dispatcher has a turn, and before it, if it is woken,
/// has more. Each is (slot, process).
fn told<V: Variant>(before: &[(usize, u32)], beside: &[(usize, u32)]) {
    let world = World::new();
    for &(slot, tgid) in before {
        world.marker::<V>(slot, tgid)();
    }
    let threads: Vec<_> =
        beside.iter().map(|&(slot, tgid)| thread::spawn(world.marker::<V>(slot, tgid))).collect();
    let mut dispatcher = world.dispatcher::<V>();
    dispatcher.turn_if_ready();
    for thread in threads {
        thread.join().expect("a marker ends");
    }
    while dispatcher.turn_if_ready() {}
    let mut expected = [0; SLOTS];
    for (slot, tgid) in before.iter().chain(beside) {
        expected[*slot] |= 1 << tgid;
    }
    assert_eq!(dispatcher.told, expected, "a change was lost");
    assert_eq!(dispatcher.seen, expected, "a change was told before it was visible");
}

/// The ring is full from the start.
fn full<V: Variant>() {
    explore(None, || told::<V>(&[(0, 1)], &[(1, 2)]));
}

/// A slot is marked again while it is taken.
fn again<V: Variant>() {
    explore(None, || told::<V>(&[(0, 1)], &[(0, 2)]));
}

#[test]
fn a_full_ring_loses_nothing() {
    full::<Real>();
}

#[test]
fn a_mark_beside_its_take_is_not_lost() {
    again::<Real>();
}

#[test]
fn two_marks_beside_a_turn_are_told() {
    explore(Some(2), || told::<Real>(&[], &[(0, 1), (1, 2)]));
}

#[test]
fn two_marks_beside_a_turn_over_a_full_ring_are_told() {
    explore(Some(2), || told::<Real>(&[(0, 1)], &[(0, 2), (1, 3)]));
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_after_the_wake_up_is_caught() {
    full::<FlagAfterTheWakeUp>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_without_a_barrier_is_caught() {
    full::<FlagWithoutABarrier>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_without_a_wake_up_is_caught() {
    full::<FlagWithoutAWakeUp>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_looked_at_before_the_ring_is_caught() {
    full::<FlagIsLookedAtFirst>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_looked_at_before_the_ring_is_read_to_its_end_is_caught() {
    full::<RestsAfterTheFlag>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_flag_never_looked_at_is_caught() {
    full::<FlagIsNeverLookedAt>();
}

#[test]
#[should_panic(expected = "a change was lost")]
fn a_slot_queued_before_its_bits_is_caught() {
    again::<QueuedBeforeTheBits>();
}
