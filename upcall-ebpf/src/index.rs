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

/// The slot of a watched inode. Kept out of line: one copy serves every hook.
#[inline(never)]
pub fn find(key: &Key) -> Option<u32> {
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
