use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use upcall_common::abi::{self, Bucket, Control, Counter, Key, Probe, Slot, Syscall};

use crate::atomic;

// Sizes are the smallest useful ones; the loader sets the configured ones.

#[map]
pub static SLOTS: Array<Slot> = Array::with_max_entries(1024, BPF_F_MMAPABLE);
#[map]
pub static INDEX: Array<Bucket> = Array::with_max_entries(128, BPF_F_MMAPABLE);
/// From an inode of an overlay's upper layer to the slot of the overlay's inode.
#[map]
pub static ALIASES: HashMap<Key, u32> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static DIRTY: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(abi::COUNTERS, 0);
#[map]
pub static PROBES: Array<Probe> = Array::with_max_entries(abi::PROBES, BPF_F_MMAPABLE);
/// Room for a copy of an inode that the daemon asks about: one at a time.
#[map]
pub static INODE: Array<[u64; INODE_WORDS]> = Array::with_max_entries(1, 0);
#[map]
pub static HOOKED: HashMap<u32, u32> = HashMap::with_max_entries(128, 0);
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

/// Who submitted a Linux AIO write, by the address of its kiocb.
#[map]
pub static SUBMITTERS: LruHashMap<u64, u32> = LruHashMap::with_max_entries(4096, 0);

/// Threads inside an ioctl that may change its file in a way of the filesystem's own, and its number.
#[map]
pub static IOCTLS: LruHashMap<u32, u32> = LruHashMap::with_max_entries(1024, 0);

/// Direct writes that are being completed, by the address of their `iomap_dio`, which is freed on the way.
#[map]
pub static DIRECT: LruHashMap<u64, Direct> = LruHashMap::with_max_entries(1024, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Direct {
    pub inode: u64,
    pub key: Key,
    pub dentry: u64,
    /// Who submitted it, as [`crate::mark::by`] wants it.
    pub by: u32,
    pub pad: u32,
}

/// More than `struct inode` takes on any kernel, debugging ones included.
pub const INODE_WORDS: usize = 256;

#[map]
pub static BREAKS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
pub static BREAKS_LOST: Array<u64> = Array::with_max_entries(1, 0);

/// What may not be opened, and for what: the `DENY_*` bits.
#[map]
pub static DENIED: HashMap<Key, u32> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

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
