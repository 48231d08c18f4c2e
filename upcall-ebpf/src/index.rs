//! The table that leads from a key to a slot, as BPF programs read it.

use upcall_common::{
    abi::{Bucket, Key},
    index::{self, Place, Read},
};

use crate::maps::{INDEX, SLOTS, control};

struct Line(*const Bucket);

impl Read for Line {
    #[inline(always)]
    fn load(&self, word: usize) -> u32 {
        // SAFETY: the map returned the bucket, and the shared code asks for words in it. Volatile: the daemon writes.
        unsafe { self.0.cast::<u32>().add(word).read_volatile() }
    }
}

/// No slot has this number.
const NONE: u64 = u64::MAX;

/// The slot of a watched inode.
#[inline(always)]
pub fn find(key: &Key) -> Option<u32> {
    let [ino, rest] = key.words();
    match slot_of(ino, rest) {
        NONE => None,
        slot => Some(slot as u32),
    }
}

/// Exported, so that the verifier goes through it once for each program, not once for each way to a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn slot_of(ino: u64, rest: u64) -> u64 {
    look_up(&Key::from_words([ino, rest])).map_or(NONE, u64::from)
}

#[inline(always)]
fn look_up(key: &Key) -> Option<u32> {
    let control = control()?;
    // SAFETY: the map returned it; the daemon wrote both before it entered the first slot.
    let (seed, buckets) = unsafe {
        ((&raw const (*control).seed).read_volatile(), (&raw const (*control).buckets).read_volatile())
    };
    let place = Place::of(*key, seed, buckets as u32);
    for bucket in place.buckets {
        let bucket = Line(INDEX.get_ptr(bucket)?);
        if let Some(slot) = index::find(&bucket, &place, |slot| is(slot, key)) {
            return Some(slot);
        }
    }
    None
}

#[inline(always)]
fn is(slot: u32, key: &Key) -> bool {
    SLOTS.get_ptr(slot).is_some_and(|slot| {
        // SAFETY: the map returned it. A slot that changes hands meanwhile is not the key's, or just became it.
        let key_there = unsafe { (&raw const (*slot).key).read_volatile() };
        key_there == *key
    })
}
