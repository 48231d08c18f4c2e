//! When interests end by themselves.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// Interests with a lifetime. An interest without one is not here.
#[derive(Debug, Default)]
pub struct Lifetimes {
    ends: HashMap<u64, Instant>,
    order: BTreeSet<(Instant, u64)>,
}

impl Lifetimes {
    /// Starts or restarts a lifetime; `None` means for ever.
    pub fn set(&mut self, interest: u64, lifetime: Option<Duration>, now: Instant) {
        self.remove(interest);
        if let Some(end) = lifetime.and_then(|lifetime| now.checked_add(lifetime)) {
            self.ends.insert(interest, end);
            self.order.insert((end, interest));
        }
    }

    pub fn remove(&mut self, interest: u64) {
        if let Some(end) = self.ends.remove(&interest) {
            self.order.remove(&(end, interest));
        }
    }

    pub fn next_end(&self) -> Option<Instant> {
        self.order.first().map(|(end, _)| *end)
    }

    /// Takes one interest whose time has come.
    pub fn pop_over(&mut self, now: Instant) -> Option<u64> {
        let &(end, interest) = self.order.first()?;
        if end > now {
            return None;
        }
        self.remove(interest);
        Some(interest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_end_in_order_and_renewal_puts_it_off() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut lifetimes = Lifetimes::default();
        lifetimes.set(1, Some(ms(10)), start);
        lifetimes.set(2, Some(ms(5)), start);
        lifetimes.set(3, None, start);
        assert_eq!(lifetimes.next_end(), Some(start + ms(5)));
        lifetimes.set(2, Some(ms(20)), start);
        assert_eq!(lifetimes.pop_over(start + ms(9)), None);
        assert_eq!(lifetimes.pop_over(start + ms(30)), Some(1));
        assert_eq!(lifetimes.pop_over(start + ms(30)), Some(2));
        assert_eq!(lifetimes.pop_over(start + ms(30)), None);
        assert_eq!(lifetimes.next_end(), None);
    }
}
