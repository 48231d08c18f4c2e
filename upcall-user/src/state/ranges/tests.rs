//! Against a file of 64 bytes, each of which knows who has locked it.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::ClientId;
use super::*;

const BYTES: u64 = 64;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn owner_of(number: u64) -> Owner {
    Owner { client: ClientId(number % 2), number }
}

type Bytes = Vec<BTreeMap<Owner, (LockKind, OpenId)>>;

/// Ranges that a reader of the bytes would find: as long as possible.
fn ranges_of(bytes: &Bytes, owner: Owner) -> Vec<(u64, u64, LockKind, OpenId)> {
    let mut found: Vec<(u64, u64, LockKind, OpenId)> = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let at = at as u64;
        let Some(&(kind, open)) = byte.get(&owner) else { continue };
        match found.last_mut() {
            Some(last) if last.1 + 1 == at && (last.2, last.3) == (kind, open) => last.1 = at,
            _ => found.push((at, at, kind, open)),
        }
    }
    found
}

fn kinds() -> impl Strategy<Value = LockKind> {
    prop_oneof![Just(LockKind::Read), Just(LockKind::Write)]
}

fn stretches() -> impl Strategy<Value = Range> {
    (0..BYTES, 0..BYTES).prop_map(|(a, b)| Range::between(a.min(b), a.max(b)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn they_are_what_a_lock_on_each_byte_would_be(
        steps in prop::collection::vec((0..4u64, stretches(), prop::option::of(kinds()), 0..2u64), 1..60)
    ) {
        let mut ranges = Ranges::default();
        let mut bytes: Bytes = vec![BTreeMap::new(); BYTES as usize];
        for (number, range, kind, open) in steps {
            let owner = owner_of(number);
            let touched = range.start() as usize..=range.last() as usize;
            let probe = kind.unwrap_or(LockKind::Read);
            let mut expected: Vec<Owner> = bytes[touched.clone()]
                .iter()
                .flat_map(|byte| byte.iter().filter(|(by, held)| **by != owner && held.0.conflicts(probe)))
                .map(|(by, _)| *by)
                .collect();
            expected.sort();
            expected.dedup();
            let mut found: Vec<Owner> = ranges.conflicts(owner, range, probe).map(|lock| lock.owner).collect();
            found.sort();
            found.dedup();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(
                ranges.covers(owner, range, probe),
                bytes[touched.clone()].iter().all(|byte| byte.get(&owner).is_some_and(|held| held.0 >= probe))
            );
            let before = ranges.len();
            match kind {
                Some(kind) if expected.is_empty() => {
                    ranges.lock(Lock { owner, range, kind, open: OpenId(open), advisory: false, since: *START });
                    prop_assert!(ranges.len() <= before + 2);
                    bytes[touched].iter_mut().for_each(|byte| { byte.insert(owner, (kind, OpenId(open))); });
                }
                Some(_) => {}
                None => {
                    let splits = ranges.splits(owner, range);
                    ranges.unlock(owner, range);
                    prop_assert_eq!(splits, ranges.len() > before);
                    bytes[touched].iter_mut().for_each(|byte| { byte.remove(&owner); });
                }
            }
            for number in 0..4 {
                let by = owner_of(number);
                let held: Vec<_> =
                    ranges.of(by).map(|it| (it.range.start(), it.range.last(), it.kind, it.open)).collect();
                prop_assert_eq!(held, ranges_of(&bytes, by));
            }
            let indexed = [ranges.starts.len(), ranges.from.len(), ranges.to.len()];
            prop_assert_eq!(indexed, [ranges.held.len(); 3]);
            prop_assert_eq!(ranges.levels.values().sum::<usize>(), ranges.held.len());
        }
    }
}

fn lock(number: u64, start: u64, length: u64, kind: LockKind) -> Lock {
    let range = Range::new(start, length).expect("within 64 bits");
    Lock { owner: owner_of(number), range, kind, open: OpenId(0), advisory: false, since: *START }
}

#[test]
fn the_highest_offset_can_be_locked_split_and_merged() {
    let mut ranges = Ranges::default();
    ranges.lock(lock(0, 0, 0, LockKind::Write));
    ranges.unlock(owner_of(0), Range::new(u64::MAX - 1, 1).expect("a range"));
    let held: Vec<_> = ranges.of(owner_of(0)).map(|it| (it.range.start(), it.range.last())).collect();
    assert_eq!(held, [(0, u64::MAX - 2), (u64::MAX, u64::MAX)]);
    assert_eq!(
        ranges.conflicts(owner_of(1), Range::new(u64::MAX, 1).expect("a range"), LockKind::Read).count(),
        1
    );
    ranges.lock(lock(0, u64::MAX - 1, 1, LockKind::Write));
    assert_eq!(ranges.len(), 1);
    assert!(ranges.covers(owner_of(0), Range::new(0, 0).expect("a range"), LockKind::Write));
}

/// How many a search looks at, those of the owner among them.
fn looked_at(ranges: &Ranges, kind: LockKind, start: u64, length: u64) -> usize {
    ranges.overlapping(kind, Range::new(start, length).expect("a range")).count()
}

#[test]
fn a_search_looks_at_nothing_that_does_not_overlap() {
    let mut ranges = Ranges::default();
    for number in 0..4_000 {
        // Of all lengths, and close before and behind.
        ranges.lock(lock(number, 0, 9, LockKind::Read));
        ranges.lock(lock(number, 12, 1 << (number % 60), LockKind::Read));
        ranges.lock(lock(number, (number + 1) << 50, 1, LockKind::Read));
    }
    assert_eq!(looked_at(&ranges, LockKind::Read, 10, 2), 0);
    assert_eq!(looked_at(&ranges, LockKind::Read, 8, 3), 4_000);
    assert_eq!(looked_at(&ranges, LockKind::Write, 0, 0), 0);
}

#[test]
fn a_search_among_thousands_looks_at_one() {
    let mut ranges = Ranges::default();
    for number in 0..10_000 {
        ranges.lock(lock(number, number * 16, 8, LockKind::Write));
    }
    assert_eq!(looked_at(&ranges, LockKind::Write, 80_000, 1), 1);
    let range = Range::new(80_000, 1).expect("a range");
    assert_eq!(ranges.conflicts(owner_of(1), range, LockKind::Read).count(), 1);
}
