//! The locks of one inode, split and merged by owner as POSIX does.

use std::{collections::BTreeMap, ops::Bound, time::Instant};

use super::{LockKind, OpenId, Owner, Range};

/// A locked range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) owner: Owner,
    pub(super) range: Range,
    pub(super) kind: LockKind,
    /// With which it ends.
    pub(super) open: OpenId,
    /// The kernel does not know of it.
    pub(super) advisory: bool,
    /// Of the earliest of those that were merged.
    pub(super) since: Instant,
}

/// Of ranges at least as long as `2^class` and shorter than twice that, those that reach a point begin close before it:
/// few that do not overlap are looked at, class by class.
type Class = u32;

#[derive(Debug, Default)]
pub(super) struct Ranges {
    held: BTreeMap<(Owner, u64), Lock>,
    index: BTreeMap<(LockKind, Class, u64, Owner), Range>,
    /// How many there are of each kind and class; no zeroes.
    classes: BTreeMap<(LockKind, Class), usize>,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Those of owners up to `last`, from an owner's start.
    pub(super) fn between(&self, from: Bound<(Owner, u64)>, last: Owner) -> impl Iterator<Item = &Lock> {
        self.held.range((from, Bound::Included((last, u64::MAX)))).map(|(_, lock)| lock)
    }

    /// The owner's, in order.
    pub(super) fn of(&self, owner: Owner) -> impl Iterator<Item = &Lock> {
        self.held.range((owner, 0)..=(owner, u64::MAX)).map(|(_, lock)| lock)
    }

    pub(super) fn holds(&self, owner: Owner) -> bool {
        self.of(owner).next().is_some()
    }

    /// The owner's that overlap, in order.
    pub(super) fn own(&self, owner: Owner, range: Range) -> impl Iterator<Item = &Lock> {
        let first = self.held.range((owner, 0)..=(owner, range.start())).next_back();
        let reaches = first.filter(|(_, lock)| lock.range.last() >= range.start());
        let start = reaches.map_or(range.start(), |((_, start), _)| *start);
        self.held.range((owner, start)..=(owner, range.last())).map(|(_, lock)| lock)
    }

    /// Whether the owner holds all of it, at least as strongly.
    pub(super) fn covers(&self, owner: Owner, range: Range, kind: LockKind) -> bool {
        let mut next = Some(range.start());
        for lock in self.own(owner, range) {
            if lock.kind < kind || next.is_none_or(|next| lock.range.start() > next) {
                return false;
            }
            next = lock.range.last().checked_add(1);
        }
        next.is_none_or(|next| next > range.last())
    }

    pub(super) fn is_advisory(&self, owner: Owner, range: Range) -> bool {
        self.own(owner, range).any(|lock| lock.advisory)
    }

    /// Whether the owner holds something that keeps `kind` of that range from the others.
    pub(super) fn blocks(&self, owner: Owner, range: Range, kind: LockKind) -> bool {
        self.own(owner, range).any(|lock| lock.kind.conflicts(kind))
    }

    /// What others hold in the way of `owner`.
    pub(super) fn conflicts(&self, owner: Owner, range: Range, kind: LockKind) -> impl Iterator<Item = Lock> {
        self.classes
            .keys()
            .filter(move |(held, _)| held.conflicts(kind))
            .flat_map(move |&(held, class)| self.candidates(held, class, range))
            .filter(move |(by, held)| *by != owner && held.overlaps(range))
            .filter_map(|(by, held)| self.held.get(&(by, held.start())).copied())
    }

    /// All of that kind and class that overlap, and few that do not.
    fn candidates(&self, kind: LockKind, class: Class, range: Range) -> impl Iterator<Item = (Owner, Range)> {
        let reach = u64::MAX.checked_shl(class + 1).map_or(u64::MAX, |high| !high);
        let from = (kind, class, range.start().saturating_sub(reach), LOWEST);
        let to = (kind, class, range.last(), HIGHEST);
        self.index.range(from..=to).map(|((_, _, _, owner), range)| (*owner, *range))
    }

    /// What the owner held of the range becomes this.
    pub(super) fn lock(&mut self, lock: Lock) {
        self.unlock(lock.owner, lock.range);
        let same =
            |other: &&Lock| (other.kind, other.open, other.advisory) == (lock.kind, lock.open, lock.advisory);
        let neighbours: Vec<Lock> =
            self.own(lock.owner, lock.range.widened()).filter(same).copied().collect();
        let (mut range, mut since) = (lock.range, lock.since);
        for neighbour in neighbours {
            self.remove(&neighbour);
            since = since.min(neighbour.since);
            range = Range::between(
                range.start().min(neighbour.range.start()),
                range.last().max(neighbour.range.last()),
            );
        }
        self.insert(Lock { range, since, ..lock });
    }

    /// Whether there would be one more of them after an unlock.
    pub(super) fn splits(&self, owner: Owner, range: Range) -> bool {
        self.own(owner, range).next().is_some_and(|lock| lock.range.without(range).count() == 2)
    }

    pub(super) fn unlock(&mut self, owner: Owner, range: Range) {
        let overlapping: Vec<Lock> = self.own(owner, range).copied().collect();
        for lock in overlapping {
            self.remove(&lock);
            for rest in lock.range.without(range) {
                self.insert(Lock { range: rest, ..lock });
            }
        }
    }

    fn insert(&mut self, lock: Lock) {
        let class = class(lock.range);
        self.index.insert((lock.kind, class, lock.range.start(), lock.owner), lock.range);
        *self.classes.entry((lock.kind, class)).or_default() += 1;
        self.held.insert((lock.owner, lock.range.start()), lock);
    }

    fn remove(&mut self, lock: &Lock) {
        let class = class(lock.range);
        self.held.remove(&(lock.owner, lock.range.start()));
        self.index.remove(&(lock.kind, class, lock.range.start(), lock.owner));
        if let Some(count) = self.classes.get_mut(&(lock.kind, class)) {
            *count -= 1;
            if *count == 0 {
                self.classes.remove(&(lock.kind, class));
            }
        }
    }
}

const LOWEST: Owner = Owner { client: super::ClientId(0), number: 0 };
const HIGHEST: Owner = Owner { client: super::ClientId(u64::MAX), number: u64::MAX };

fn class(range: Range) -> Class {
    // One less than the length, which may be 2^64.
    (range.last() - range.start()).checked_ilog2().unwrap_or(0)
}

#[cfg(test)]
mod tests;
