use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use upcall_common::abi::{self, Control, Counter, Key, Probe, Slot, Syscall};

use crate::atomic;

// Sizes are the smallest useful ones; the loader sets the configured ones.

#[map]
pub static SLOTS: Array<Slot> = Array::with_max_entries(1024, BPF_F_MMAPABLE);
#[map]
pub static WATCHED: HashMap<Key, u32> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static DIRTY: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(abi::COUNTERS, 0);
#[map]
pub static PROBE: Array<Probe> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static SYSCALLS: Array<Syscall> = Array::with_max_entries(abi::SYSCALLS, 0);

/// What an entry hook saw and its exit hook needs, by the address of the dentry: a removed entry no longer
/// names its inode at exit. Least recently used first out: an exit that never came must not fill it.
#[map]
pub static REMOVALS: LruHashMap<u64, Removal> = LruHashMap::with_max_entries(4096, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Removal {
    pub inode: u64,
    pub key: Key,
    pub generation: u32,
    pub pad: u32,
}

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(word) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the map returned it; sleepable programs may share a CPU, hence the atomic.
        unsafe { atomic::add(word, 1) };
    }
}

/// The one control record.
#[inline(always)]
pub fn control() -> Option<*mut Control> {
    CONTROL.get_ptr_mut(0)
}
