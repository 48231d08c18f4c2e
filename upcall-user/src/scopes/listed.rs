//! Directories of which the client could read the names a short while ago: it may know what was in them when they are
//! gone, of which nobody can be asked any more.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A directory is mostly gone within moments of what was in it.
const LIFETIME: Duration = Duration::from_secs(2);
/// All that are remembered.
const MOST: usize = 1024;
const MOST_BYTES: usize = 256 << 10;

/// By interest and path below its directory.
#[derive(Debug, Default)]
pub struct Listed {
    until: HashMap<(u64, Vec<u8>), Instant>,
    bytes: usize,
}

impl Listed {
    pub(super) fn note(&mut self, interest: u64, directory: &[u8], now: Instant) {
        if self.until.len() >= MOST || self.bytes + directory.len() > MOST_BYTES {
            self.forget();
        }
        if self.until.insert((interest, directory.to_vec()), now + LIFETIME).is_none() {
            self.bytes += directory.len();
        }
    }

    pub(super) fn has(&self, interest: u64, directory: &[u8], now: Instant) -> bool {
        self.until.get(&(interest, directory.to_vec())).is_some_and(|until| now < *until)
    }

    /// Some directory may be another's by now, or at another place.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_for_a_while_and_for_that_interest() {
        let (mut listed, now) = (Listed::default(), Instant::now());
        listed.note(1, b"a/b", now);
        assert!(listed.has(1, b"a/b", now + LIFETIME / 2));
        assert!(
            !listed.has(1, b"a/b", now + LIFETIME)
                && !listed.has(1, b"a", now)
                && !listed.has(2, b"a/b", now)
        );
        listed.forget();
        assert!(!listed.has(1, b"a/b", now));
    }

    #[test]
    fn it_is_bounded() {
        let (mut listed, now) = (Listed::default(), Instant::now());
        for number in 0..3 * MOST {
            listed.note(1, number.to_string().as_bytes(), now);
            assert!(listed.until.len() <= MOST);
        }
        for number in 0..200 {
            listed.note(1, &[number; 4096], now);
            let bytes: usize = listed.until.keys().map(|(_, path)| path.len()).sum();
            assert_eq!((bytes, bytes <= MOST_BYTES), (listed.bytes, true));
        }
    }
}
