//! How BPF programs and the daemon share a slot and the dirty ring without a lock: the steps whose order keeps the
//! promise of no silent loss. Both sides run this code, and so do the tests, which try every interleaving of it
//! (`tests/protocol`).

mod mark;
mod take;

#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub use mark::{Marked, Ring, dirty, hooked, mark, net, queue, store_attrs};
pub use take::{Reader, attrs, take, take_net, take_scan, turn, version};

/// A word that both sides use. What returns the value before is a full barrier, on either side.
pub trait Shared {
    /// On the kernel side no barrier.
    fn load(&self) -> u64;
    /// On the kernel side no barrier.
    fn store(&self, value: u64);
    fn or(&self, bits: u64) -> u64;
    fn and(&self, bits: u64) -> u64;
    fn add(&self, n: u64) -> u64;
    fn swap(&self, value: u64) -> u64;
    /// Puts `new` where `old` still is.
    fn replace(&self, old: u64, new: u64);
}

/// On the daemon's side.
#[cfg(target_has_atomic = "64")]
impl Shared for AtomicU64 {
    fn load(&self) -> u64 {
        self.load(SeqCst)
    }

    fn store(&self, value: u64) {
        self.store(value, SeqCst);
    }

    fn or(&self, bits: u64) -> u64 {
        self.fetch_or(bits, SeqCst)
    }

    fn and(&self, bits: u64) -> u64 {
        self.fetch_and(bits, SeqCst)
    }

    fn add(&self, n: u64) -> u64 {
        self.fetch_add(n, SeqCst)
    }

    fn swap(&self, value: u64) -> u64 {
        self.swap(value, SeqCst)
    }

    fn replace(&self, old: u64, new: u64) {
        // Whatever else is there stays.
        let _ = self.compare_exchange(old, new, SeqCst, SeqCst);
    }
}

/// The words of an [`abi::Slot`](crate::abi::Slot), as one side reaches them.
pub trait Slot {
    type Word: Shared;

    fn pending(&self) -> &Self::Word;
    fn version(&self) -> &Self::Word;
    /// The word that holds the generation and, above it, the lock of the attributes.
    fn lock(&self) -> &Self::Word;
    fn attrs_version(&self) -> &Self::Word;
    fn net(&self) -> &Self::Word;
}

/// In [`Slot::lock`]: somebody, on either side, stores attributes.
pub const LOCKED: u64 = 1 << 32;
