//! Interests, and for each inode a list through those in it. There may be millions: one is a cache line.

use slab::Slab;
use upcall_common::change::{EXPIRED, FORGET};

use super::{ClientIndex, Wish};

pub(super) type InterestIndex = u32;

/// No interest has this index.
const NONE: InterestIndex = InterestIndex::MAX;

#[derive(Debug)]
pub(super) struct Interest {
    pub(super) wish: Wish,
    /// Its turn in the queue.
    pub(super) turn: u64,
    /// Marks that wait with the changes.
    pub(super) pending_marks: u64,
    /// Version as of the last change that waits or was sent.
    pub(super) version: u64,
    client: u32,
    pub(super) slot: u32,
    /// Tells this interest from an earlier one at the same index.
    serial: u32,
    /// Changes that wait to be sent; the interest is in the client's queue exactly if there are any.
    pub(super) pending: u32,
    /// Its neighbours in the list of its inode.
    previous: InterestIndex,
    next: InterestIndex,
}

const _: () = assert!(size_of::<Option<Interest>>() == 64);

impl Interest {
    pub(super) fn client(&self) -> ClientIndex {
        self.client as ClientIndex
    }

    /// No more changes will come; it is removed once this has been told.
    pub(super) fn ended(&self) -> bool {
        self.pending & (FORGET | EXPIRED) != 0
    }

    /// What it is called at index `index`.
    pub(super) fn id(&self, index: InterestIndex) -> u64 {
        u64::from(self.serial) << 32 | u64::from(index)
    }
}

/// The interests in one inode.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    first: InterestIndex,
}

impl List {
    pub(super) const EMPTY: Self = Self { first: NONE };

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }
}

/// All interests.
#[derive(Debug, Default)]
pub(super) struct Interests {
    slab: Slab<Interest>,
    serial: u32,
}

impl Interests {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn get(&self, index: InterestIndex) -> Option<&Interest> {
        self.slab.get(index as usize)
    }

    pub(super) fn get_mut(&mut self, index: InterestIndex) -> Option<&mut Interest> {
        self.slab.get_mut(index as usize)
    }

    /// The interest that is called so, and its index.
    pub(super) fn find(&mut self, id: u64) -> Option<(InterestIndex, &mut Interest)> {
        let index = id as InterestIndex;
        self.get_mut(index).filter(|found| found.id(index) == id).map(|found| (index, found))
    }

    /// A new interest, in the list of its inode. `None`: there is no index left.
    pub(super) fn insert(
        &mut self,
        list: &mut List,
        client: ClientIndex,
        slot: u32,
        wish: Wish,
        version: u64,
    ) -> Option<(InterestIndex, u64)> {
        let client = u32::try_from(client).ok()?;
        let index = InterestIndex::try_from(self.slab.vacant_key()).ok().filter(|index| *index != NONE)?;
        self.serial = self.serial.wrapping_add(1);
        let interest = Interest {
            wish,
            turn: 0,
            pending_marks: 0,
            version,
            client,
            slot,
            serial: self.serial,
            pending: 0,
            previous: NONE,
            next: list.first,
        };
        let id = interest.id(index);
        if let Some(next) = self.get_mut(list.first) {
            next.previous = index;
        }
        list.first = index;
        self.slab.insert(interest);
        Some((index, id))
    }

    /// Takes an interest out of the list of its inode, if it is there.
    pub(super) fn unlink(&mut self, list: &mut List, index: InterestIndex) {
        let Some(&Interest { previous, next, .. }) = self.get(index) else { return };
        match self.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => list.first = next,
        }
        if let Some(next) = self.get_mut(next) {
            next.previous = previous;
        }
    }

    /// Takes away an interest that is in no list.
    pub(super) fn remove(&mut self, index: InterestIndex) -> Option<Interest> {
        self.slab.try_remove(index as usize)
    }

    /// The interests in an inode.
    pub(super) fn of(&self, list: &List) -> impl Iterator<Item = &Interest> {
        std::iter::successors(self.get(list.first), |interest| self.get(interest.next))
    }

    /// The same, with their indices, to be changed.
    pub(super) fn each(&mut self, list: &List, mut change: impl FnMut(InterestIndex, &mut Interest)) {
        let mut index = list.first;
        while let Some(interest) = self.get_mut(index) {
            change(index, interest);
            index = interest.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(interests: &Interests, list: &List) -> Vec<u64> {
        let mut cookies: Vec<_> = interests.of(list).map(|interest| interest.wish.cookie).collect();
        cookies.sort_unstable();
        cookies
    }

    #[test]
    fn each_inode_has_its_own_interests() {
        let (mut interests, mut lists) = (Interests::default(), [List::EMPTY, List::EMPTY]);
        let mut made = Vec::new();
        for cookie in 0..6 {
            let list = &mut lists[cookie as usize % 2];
            let wish = Wish { cookie, mask: 1, include_own: false };
            made.push(interests.insert(list, 0, 0, wish, 0).expect("an index"));
        }
        assert_eq!(
            (cookies(&interests, &lists[0]), cookies(&interests, &lists[1])),
            (vec![0, 2, 4], vec![1, 3, 5])
        );
        // From the middle, the end, and the last one.
        for (cookie, left) in [(2, vec![0, 4]), (0, vec![4]), (4, vec![])] {
            let (index, id) = made[cookie];
            interests.unlink(&mut lists[0], index);
            assert!(interests.find(id).is_some() && interests.remove(index).is_some());
            assert_eq!((cookies(&interests, &lists[0]), interests.find(id).is_none()), (left, true));
        }
        assert!(lists[0].is_empty() && !lists[1].is_empty());
        let mut seen = 0;
        interests.each(&lists[1], |_, _| seen += 1);
        assert_eq!((seen, interests.len()), (3, 3));
    }
}
