//! The protocol as it is, and as it must not be.

use upcall_common::{
    abi::Word,
    protocol::{self, LOCKED, Marked, Reader, Ring, Shared, Slot},
};

use crate::memory::{DaemonSlot, DaemonWord, KernelSlot};

/// The steps of the protocol; what a variant leaves alone is the real thing.
pub trait Variant: 'static {
    fn mark(
        slot: &KernelSlot,
        ring: &impl Ring,
        index: u32,
        word: Word,
        describe: impl FnOnce(u64),
    ) -> Marked {
        protocol::mark(slot, ring, index, word, describe)
    }

    fn store_attrs(slot: &KernelSlot, version: u64) {
        protocol::store_attrs(slot, version, || slot.store_attrs());
    }

    fn hooked(slot: &KernelSlot, thread: u64) {
        protocol::hooked(slot, |net| net == thread);
    }

    /// Takes, with the version to tell it with; `taken` is the last such version.
    fn take(slot: &DaemonSlot, taken: &mut u64) -> (Word, u64) {
        let word = protocol::take(slot);
        if word.is_clean() { (word, 0) } else { (word, version(slot, taken)) }
    }

    fn attrs(slot: &DaemonSlot, version: u64) -> Option<[u64; 2]> {
        protocol::attrs(slot, version, || slot.load_attrs())
    }

    fn turn(reader: &mut impl Reader) {
        protocol::turn(reader);
    }

    fn take_scan(flag: &DaemonWord) -> bool {
        protocol::take_scan(flag)
    }
}

fn version(slot: &DaemonSlot, taken: &mut u64) -> u64 {
    let since = |version: u64| {
        let marks = version.saturating_sub(*taken);
        *taken = version.max(*taken);
        marks
    };
    protocol::version(slot, since).0
}

/// Queues a slot as it is not to be done: in the order of `steps`.
fn queue(ring: &impl Ring, index: u32, steps: impl FnOnce()) -> Marked {
    if ring.submit(index) {
        return Marked::Queued;
    }
    steps();
    Marked::RingFull
}

/// [`Variant::mark`] with another way to queue.
macro_rules! mark_with {
    (|$ring:ident| $steps:expr) => {
        fn mark(
            slot: &KernelSlot,
            $ring: &impl Ring,
            index: u32,
            word: Word,
            describe: impl FnOnce(u64),
        ) -> Marked {
            describe(slot.version().add(1) + 1);
            match slot.pending().or(word.0) {
                0 => queue($ring, index, || $steps),
                _ => Marked::Coalesced,
            }
        }
    };
}

pub struct Real;
impl Variant for Real {}

pub struct VersionRisesAfterTheBits;
impl Variant for VersionRisesAfterTheBits {
    fn mark(
        slot: &KernelSlot,
        ring: &impl Ring,
        index: u32,
        word: Word,
        describe: impl FnOnce(u64),
    ) -> Marked {
        let marked = protocol::dirty(slot, ring, index, word);
        describe(slot.version().add(1) + 1);
        marked
    }
}

pub struct BitsAreLoadedThenStored;
impl Variant for BitsAreLoadedThenStored {
    fn mark(
        slot: &KernelSlot,
        ring: &impl Ring,
        index: u32,
        word: Word,
        describe: impl FnOnce(u64),
    ) -> Marked {
        describe(slot.version().add(1) + 1);
        let before = slot.pending().load();
        slot.pending().store(before | word.0);
        if before == 0 { protocol::queue(ring, index) } else { Marked::Coalesced }
    }
}

pub struct QueuedBeforeTheBits;
impl Variant for QueuedBeforeTheBits {
    fn mark(
        slot: &KernelSlot,
        ring: &impl Ring,
        index: u32,
        word: Word,
        describe: impl FnOnce(u64),
    ) -> Marked {
        describe(slot.version().add(1) + 1);
        let marked = match slot.pending().load() {
            0 => protocol::queue(ring, index),
            _ => Marked::Coalesced,
        };
        slot.pending().or(word.0);
        marked
    }
}

pub struct FlagAfterTheWakeUp;
impl Variant for FlagAfterTheWakeUp {
    mark_with!(|ring| {
        ring.submit_wake();
        ring.scan().map(|flag| flag.swap(1));
    });
}

pub struct FlagWithoutABarrier;
impl Variant for FlagWithoutABarrier {
    mark_with!(|ring| {
        if let Some(flag) = ring.scan() {
            flag.store(1);
        }
        ring.submit_wake();
    });
}

pub struct FlagWithoutAWakeUp;
impl Variant for FlagWithoutAWakeUp {
    mark_with!(|ring| {
        ring.scan().map(|flag| flag.swap(1));
    });
}

pub struct VersionIsReadBeforeTheTake;
impl Variant for VersionIsReadBeforeTheTake {
    fn take(slot: &DaemonSlot, taken: &mut u64) -> (Word, u64) {
        if slot.pending().load() == 0 {
            return (Word::default(), 0);
        }
        let version = version(slot, taken);
        (protocol::take(slot), version)
    }
}

pub struct TakenByLoadAndStore;
impl Variant for TakenByLoadAndStore {
    fn take(slot: &DaemonSlot, taken: &mut u64) -> (Word, u64) {
        let word = Word(slot.pending().load());
        if word.is_clean() {
            return (word, 0);
        }
        slot.pending().store(0);
        (word, version(slot, taken))
    }
}

pub struct VersionsAreNotRaised;
impl Variant for VersionsAreNotRaised {
    fn take(slot: &DaemonSlot, _: &mut u64) -> (Word, u64) {
        (protocol::take(slot), slot.version().load())
    }
}

pub struct FlagIsLookedAtFirst;
impl Variant for FlagIsLookedAtFirst {
    fn turn(reader: &mut impl Reader) {
        let scan = reader.take_scan();
        if reader.drain() {
            reader.arm();
        }
        reader.take();
        if scan {
            reader.scan();
        }
    }
}

pub struct RestsAfterTheFlag;
impl Variant for RestsAfterTheFlag {
    fn turn(reader: &mut impl Reader) {
        let drained = reader.drain();
        reader.take();
        if reader.take_scan() {
            reader.scan();
        }
        if drained && reader.drain() {
            reader.arm();
        }
    }
}

pub struct FlagIsNeverLookedAt;
impl Variant for FlagIsNeverLookedAt {
    fn take_scan(_: &DaemonWord) -> bool {
        false
    }
}

pub struct AttrsAreStoredWithoutTheLock;
impl Variant for AttrsAreStoredWithoutTheLock {
    fn store_attrs(slot: &KernelSlot, version: u64) {
        slot.store_attrs();
        slot.attrs_version().store(version);
    }
}

pub struct AttrsOfAnyVersion;
impl Variant for AttrsOfAnyVersion {
    fn attrs(slot: &DaemonSlot, _: u64) -> Option<[u64; 2]> {
        protocol::attrs(slot, slot.attrs_version().load(), || slot.load_attrs())
    }
}

pub struct LockIsLookedAtLast;
impl Variant for LockIsLookedAtLast {
    fn attrs(slot: &DaemonSlot, version: u64) -> Option<[u64; 2]> {
        let stored = || slot.attrs_version().load() == version && slot.lock().load() & LOCKED == 0;
        if !stored() {
            return None;
        }
        let attrs = slot.load_attrs();
        stored().then_some(attrs)
    }
}

pub struct HookedClearsWhateverIsThere;
impl Variant for HookedClearsWhateverIsThere {
    fn hooked(slot: &KernelSlot, thread: u64) {
        if slot.net().load() == thread {
            slot.net().swap(0);
        }
    }
}
