//! Keys that wait, each until a moment of its own. Pure state; the clock is the caller's.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Each key is here at most once, with what belongs to it.
#[derive(Debug)]
pub(super) struct Deadlines<K, T, V = ()> {
    waiting: HashMap<K, (T, V)>,
    order: BTreeSet<(T, K)>,
}

impl<K, T, V> Default for Deadlines<K, T, V> {
    fn default() -> Self {
        Self { waiting: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Copy + Eq + Hash + Ord, T: Copy + Ord, V> Deadlines<K, T, V> {
    /// From now on the key waits until `end`, whatever it did before.
    pub(super) fn insert(&mut self, key: K, end: T, value: V) {
        self.remove(key);
        self.waiting.insert(key, (end, value));
        self.order.insert((end, key));
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (end, value) = self.waiting.remove(&key)?;
        self.order.remove(&(end, key));
        Some(value)
    }

    /// Takes the key whose moment comes first.
    pub(super) fn pop(&mut self) -> Option<(K, V)> {
        let &(_, key) = self.order.first()?;
        self.remove(key).map(|value| (key, value))
    }

    /// Takes one whose moment has come.
    pub(super) fn pop_over(&mut self, now: T) -> Option<(K, V)> {
        self.next_end().filter(|end| *end <= now).and_then(|_| self.pop())
    }

    pub(super) fn next_end(&self) -> Option<T> {
        self.order.first().map(|(end, _)| *end)
    }

    pub(super) fn contains(&self, key: K) -> bool {
        self.waiting.contains_key(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_in_the_order_of_their_ends_and_not_before() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(1, 10, 'a');
        deadlines.insert(2, 5, 'b');
        assert_eq!((deadlines.len(), deadlines.next_end()), (2, Some(5)));
        assert_eq!(deadlines.pop_over(4), None);
        assert_eq!(deadlines.pop_over(30), Some((2, 'b')));
        assert_eq!(deadlines.pop(), Some((1, 'a')));
        assert_eq!((deadlines.pop_over(30), deadlines.pop(), deadlines.next_end()), (None, None, None));
    }

    #[test]
    fn a_new_end_takes_the_place_of_the_old_one() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(1, 5, 'a');
        deadlines.insert(1, 20, 'b');
        assert_eq!((deadlines.len(), deadlines.pop_over(9)), (1, None));
        assert_eq!(deadlines.pop_over(20), Some((1, 'b')));
    }

    #[test]
    fn a_key_that_is_removed_waits_no_more() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(1, 5, 'a');
        deadlines.insert(2, 9, 'b');
        assert_eq!((deadlines.remove(1), deadlines.remove(1)), (Some('a'), None));
        assert_eq!((deadlines.contains(1), deadlines.contains(2)), (false, true));
        assert_eq!((deadlines.len(), deadlines.next_end()), (1, Some(9)));
    }
}
