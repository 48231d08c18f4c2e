//! The locks of one inode, split and merged by owner as POSIX does.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Instant,
};

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

/// Of the nodes of a binary tree over all offsets, a range belongs to the one nearest to the root that it contains; a byte
/// alone to its leaf. Whatever holds an offset belongs to a node on the way from the root to that: one of each level.
type Level = u32;

#[derive(Debug, Default)]
pub(super) struct Ranges {
    held: BTreeMap<(Owner, u64), Lock>,
    starts: BTreeSet<(LockKind, u64, Owner)>,
    /// Of each node by where they start, and by where they end.
    from: BTreeSet<(LockKind, Level, u64, u64, Owner)>,
    to: BTreeMap<(LockKind, Level, u64, u64, Owner), u64>,
    /// How many there are of each kind and level; no zeroes.
    levels: BTreeMap<(LockKind, Level), usize>,
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

    /// The first of the owner's that keeps `kind` of that range from the others.
    pub(super) fn in_the_way(&self, owner: Owner, range: Range, kind: LockKind) -> Option<&Lock> {
        self.own(owner, range).find(|lock| lock.kind.conflicts(kind))
    }

    /// What others hold in the way of `owner`.
    pub(super) fn conflicts(&self, owner: Owner, range: Range, kind: LockKind) -> impl Iterator<Item = Lock> {
        [LockKind::Read, LockKind::Write]
            .into_iter()
            .filter(move |held| held.conflicts(kind))
            .flat_map(move |held| self.overlapping(held, range))
            .filter(move |(by, _)| *by != owner)
            .filter_map(|held| self.held.get(&held).copied())
    }

    /// Those of that kind, and no others: what holds the first byte, and what starts after that.
    fn overlapping(&self, kind: LockKind, range: Range) -> impl Iterator<Item = (Owner, u64)> {
        let levels = self.levels.range((kind, 0)..=(kind, Level::MAX)).map(|((_, level), _)| *level);
        let holding = levels.flat_map(move |level| self.holding(kind, level, range.start()));
        let next = range.start().checked_add(1).filter(|next| *next <= range.last());
        let after = next
            .into_iter()
            .flat_map(move |next| self.starts.range((kind, next, LOWEST)..=(kind, range.last(), HIGHEST)));
        holding.chain(after.map(|(_, start, owner)| (*owner, *start)))
    }

    /// Those of a level that hold a byte. All of its node hold the node's own offset, too.
    fn holding(&self, kind: LockKind, level: Level, at: u64) -> impl Iterator<Item = (Owner, u64)> {
        let node = node(level, at);
        let before = (at < node).then(|| {
            let all = (kind, level, node, 0, LOWEST)..=(kind, level, node, at, HIGHEST);
            self.from.range(all).map(|(_, _, _, start, owner)| (*owner, *start))
        });
        let behind = (at >= node).then(|| {
            let all = (kind, level, node, at, LOWEST)..=(kind, level, node, u64::MAX, HIGHEST);
            self.to.range(all).map(|((_, _, _, _, owner), start)| (*owner, *start))
        });
        before.into_iter().flatten().chain(behind.into_iter().flatten())
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
        let Lock { owner, kind, range, .. } = lock;
        let level = level(range);
        let node = node(level, range.last());
        self.starts.insert((kind, range.start(), owner));
        self.from.insert((kind, level, node, range.start(), owner));
        self.to.insert((kind, level, node, range.last(), owner), range.start());
        *self.levels.entry((kind, level)).or_default() += 1;
        self.held.insert((owner, range.start()), lock);
    }

    fn remove(&mut self, lock: &Lock) {
        let Lock { owner, kind, range, .. } = *lock;
        let level = level(range);
        let node = node(level, range.last());
        self.held.remove(&(owner, range.start()));
        self.starts.remove(&(kind, range.start(), owner));
        self.from.remove(&(kind, level, node, range.start(), owner));
        self.to.remove(&(kind, level, node, range.last(), owner));
        if let Some(count) = self.levels.get_mut(&(kind, level)) {
            *count -= 1;
            if *count == 0 {
                self.levels.remove(&(kind, level));
            }
        }
    }
}

const LOWEST: Owner = Owner { client: super::ClientId(0), number: 0 };
const HIGHEST: Owner = Owner { client: super::ClientId(u64::MAX), number: u64::MAX };

/// One above that of the highest bit in which start and end differ.
fn level(range: Range) -> Level {
    (range.start() ^ range.last()).checked_ilog2().map_or(0, |bit| bit + 1)
}

/// Of that level, on the way to an offset.
const fn node(level: Level, at: u64) -> u64 {
    match level.checked_sub(1) {
        Some(bit) => ((at >> bit) | 1) << bit,
        None => at,
    }
}

#[cfg(test)]
mod tests;
