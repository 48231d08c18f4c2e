//! From an inode's key to its slot: a table of fixed size in memory that the daemon writes and BPF programs read.
//!
//! A key lies in one of two buckets, each a cache line, in the one that was emptier when it came. So a lookup reads two
//! lines at most, besides the slots whose tags are the same; nothing moves, and a removal leaves nothing that
//! a lookup has to pass.
//!
//! There is one writer. It stores a slot's number before the tag that leads to it, and takes the tag away first. A reader
//! may still meet a tag whose number is another one's by now, or not there yet: it compares the key in the slot itself,
//! and so finds nothing, as if it had come before the insertion or after the removal. A key that is in the table all
//! along is found by every reader, since its tag and its number stay.

use crate::abi::Key;

/// Entries of a bucket.
pub const BUCKET_ENTRIES: usize = 12;
/// A bucket in words: twelve tags of a byte, twelve numbers of slots, and one word to spare.
pub const WORDS: usize = 16;
const TAGS: usize = BUCKET_ENTRIES / 4;
/// Slots for each bucket: the table is filled to two thirds at most, where both buckets of a key are never full.
const SLOTS: u32 = 8;
/// Two at least: a key's buckets differ.
const FEWEST: u32 = 2;

/// How many buckets the table for so many slots has.
pub const fn buckets(slots: u32) -> u32 {
    let buckets = slots.div_ceil(SLOTS);
    if buckets < FEWEST { FEWEST } else { buckets }
}

/// Where a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub buckets: [u32; 2],
    /// Never 0, which is the tag of a free entry.
    tag: u8,
}

impl Place {
    /// `seed` is secret: who can choose inode numbers shall not choose buckets. There are `buckets` of them.
    #[inline(always)]
    pub const fn of(key: Key, seed: u64, buckets: u32) -> Self {
        let [ino, dev] = key.words();
        let hash = mix(mix(ino ^ seed).wrapping_add(dev) ^ seed.rotate_left(32));
        let first = scale(hash as u32, buckets);
        let second = first + 1 + scale((hash >> 32) as u32, buckets - 1);
        let second = if second >= buckets { second - buckets } else { second };
        let tag = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        Self { buckets: [first, second], tag: if tag == 0 { 1 } else { tag } }
    }
}

/// Every bit of the result depends on every bit of the word.
#[inline(always)]
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// From any number to one below `end`, without a division.
#[inline(always)]
const fn scale(number: u32, end: u32) -> u32 {
    ((number as u64 * end as u64) >> 32) as u32
}

/// A bucket as one side reaches it.
pub trait Read {
    fn load(&self, word: usize) -> u32;
}

/// The one writer's access. Its stores are seen in their order.
pub trait Write: Read {
    fn store(&self, word: usize, value: u32);
}

/// The slot in the bucket for which `is_it` holds, of those with the place's tag.
#[inline(always)]
pub fn find(bucket: &impl Read, place: &Place, is_it: impl Fn(u32) -> bool) -> Option<u32> {
    entry(bucket, place, is_it).map(|(_, slot)| slot)
}

#[inline(always)]
fn entry(bucket: &impl Read, place: &Place, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
    for word in 0..TAGS {
        let tags = bucket.load(word);
        if !has(tags, place.tag) {
            continue;
        }
        for at in 0..4 {
            if (tags >> (8 * at)) as u8 == place.tag {
                let entry = 4 * word + at;
                let slot = bucket.load(TAGS + entry);
                if is_it(slot) {
                    return Some((entry, slot));
                }
            }
        }
    }
    None
}

/// Whether one of four tags may be this one: all at once, since most are not.
#[inline(always)]
const fn has(tags: u32, tag: u8) -> bool {
    let ones = 0x0101_0101_u32;
    // A byte is 0 where the tag is: only there, or above, does the subtraction borrow its highest bit.
    let zero = tags ^ (ones.wrapping_mul(tag as u32));
    zero.wrapping_sub(ones) & !zero & (ones << 7) != 0
}

/// The table is as full as it gets for this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Enters a slot, whose key is stored in it already, in the emptier one of its buckets.
pub fn insert(buckets: [&impl Write; 2], place: &Place, slot: u32) -> Result<(), Full> {
    let [first, second] = buckets;
    let bucket = if used(second) < used(first) { second } else { first };
    let entry = (0..BUCKET_ENTRIES).find(|entry| tag(bucket, *entry) == 0).ok_or(Full)?;
    bucket.store(TAGS + entry, slot);
    set_tag(bucket, entry, place.tag);
    Ok(())
}

/// Takes a slot out. Whether it was there.
pub fn remove(buckets: [&impl Write; 2], place: &Place, slot: u32) -> bool {
    for bucket in buckets {
        if let Some((entry, _)) = entry(bucket, place, |found| found == slot) {
            set_tag(bucket, entry, 0);
            return true;
        }
    }
    false
}

/// Takes out every entry that leads to no slot of a key that belongs in it, in the bucket that is `number` of all: what
/// must not be, whatever a writer was in the midst of. Returns the slots that are left. `place_of` is asked for each.
pub fn repair<B: Write>(
    bucket: &B,
    number: u32,
    place_of: impl Fn(u32) -> Option<Place>,
) -> impl Iterator<Item = u32> {
    (0..BUCKET_ENTRIES).filter(|entry| tag(bucket, *entry) != 0).filter_map(move |entry| {
        let slot = bucket.load(TAGS + entry);
        let right =
            place_of(slot).is_some_and(|it| it.buckets.contains(&number) && it.tag == tag(bucket, entry));
        if !right {
            set_tag(bucket, entry, 0);
        }
        right.then_some(slot)
    })
}

fn used(bucket: &impl Read) -> usize {
    (0..BUCKET_ENTRIES).filter(|entry| tag(bucket, *entry) != 0).count()
}

fn tag(bucket: &impl Read, entry: usize) -> u8 {
    (bucket.load(entry / 4) >> (8 * (entry % 4))) as u8
}

fn set_tag(bucket: &impl Write, entry: usize, tag: u8) {
    let (word, shift) = (entry / 4, 8 * (entry % 4));
    bucket.store(word, bucket.load(word) & !(0xff << shift) | u32::from(tag) << shift);
}
