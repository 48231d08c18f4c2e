//! BPF atomics. The target has no compare-and-swap in `core::sync::atomic`, but the intrinsics compile to the
//! instructions of `-C target-cpu=v3`. All are full barriers.
//!
//! Safety of all: `word` points into a map value.

use core::intrinsics::{AtomicOrdering, atomic_and, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};

const SEQ: AtomicOrdering = AtomicOrdering::SeqCst;

#[inline(always)]
pub unsafe fn or(word: *mut u64, bits: u64) -> u64 {
    unsafe { atomic_or::<u64, u64, SEQ>(word, bits) }
}

#[inline(always)]
pub unsafe fn and(word: *mut u64, bits: u64) -> u64 {
    unsafe { atomic_and::<u64, u64, SEQ>(word, bits) }
}

#[inline(always)]
pub unsafe fn add(word: *mut u64, n: u64) -> u64 {
    unsafe { atomic_xadd::<u64, u64, SEQ>(word, n) }
}

#[inline(always)]
pub unsafe fn exchange(word: *mut u64, value: u64) -> u64 {
    unsafe { atomic_xchg::<u64, SEQ>(word, value) }
}

#[inline(always)]
pub unsafe fn compare_exchange(word: *mut u64, old: u64, new: u64) {
    unsafe { atomic_cxchg::<u64, SEQ, SEQ>(word, old, new) };
}
