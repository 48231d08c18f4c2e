//! A slot in loom's memory.
//!
//! What returns the value before is a full barrier, as BPF's atomics with fetch are by the kernel's memory model. Plain
//! accesses of a BPF program order nothing. All of the daemon's are sequentially consistent, which loom knows of fences
//! alone: one goes before each.

use std::{cell::Cell, sync::Arc};

use loom::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    fence,
};
use upcall_common::protocol::{self, Shared};

/// A word as one side uses it.
pub struct Word<const KERNEL: bool>(Arc<AtomicU64>);

pub type KernelWord = Word<true>;
pub type DaemonWord = Word<false>;

loom::lazy_static! {
    static ref FENCES: AtomicU64 = AtomicU64::new(0);
}

thread_local! {
    /// Whether all orders of fences are tried: all threads of a model are one to the system.
    pub static ORDER_FENCES: Cell<bool> = const { Cell::new(false) };
}

/// A full barrier. Loom tries orders of accesses alone, so that a fence needs one for its order to be tried.
pub fn barrier() {
    if ORDER_FENCES.get() {
        FENCES.fetch_add(0, Relaxed);
    }
    fence(SeqCst);
}

impl<const KERNEL: bool> Word<KERNEL> {
    fn update<T>(&self, access: impl FnOnce(&AtomicU64) -> T) -> T {
        barrier();
        let before = access(&self.0);
        if KERNEL {
            barrier();
        }
        before
    }
}

impl<const KERNEL: bool> Shared for Word<KERNEL> {
    fn load(&self) -> u64 {
        if KERNEL {
            return self.0.load(Relaxed);
        }
        barrier();
        self.0.load(Acquire)
    }

    fn store(&self, value: u64) {
        if KERNEL {
            return self.0.store(value, Relaxed);
        }
        barrier();
        self.0.store(value, Release);
    }

    fn or(&self, bits: u64) -> u64 {
        self.update(|word| word.fetch_or(bits, AcqRel))
    }

    fn and(&self, bits: u64) -> u64 {
        self.update(|word| word.fetch_and(bits, AcqRel))
    }

    fn add(&self, n: u64) -> u64 {
        self.update(|word| word.fetch_add(n, AcqRel))
    }

    fn swap(&self, value: u64) -> u64 {
        self.update(|word| word.swap(value, AcqRel))
    }

    fn replace(&self, old: u64, new: u64) {
        let _ = self.update(|word| word.compare_exchange(old, new, AcqRel, Acquire));
    }
}

/// A word that both sides use.
#[derive(Clone)]
pub struct Both(Arc<AtomicU64>);

impl Both {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    pub fn side<const KERNEL: bool>(&self) -> Word<KERNEL> {
        Word(Arc::clone(&self.0))
    }
}

/// A slot, and the inode that it stands for.
#[derive(Clone)]
pub struct Memory {
    pending: Both,
    version: Both,
    lock: Both,
    attrs_version: Both,
    net: Both,
    /// Two words of attributes: enough to be torn.
    attrs: [Both; 2],
    /// What a reader of the inode sees: a bit for each change made.
    pub inode: Both,
}

impl Memory {
    pub fn new() -> Self {
        let attrs = [Both::new(), Both::new()];
        let [pending, version, lock, attrs_version, net, inode] = std::array::from_fn(|_| Both::new());
        Self { pending, version, lock, attrs_version, net, attrs, inode }
    }

    pub fn side<const KERNEL: bool>(&self) -> Slot<KERNEL> {
        Slot {
            pending: self.pending.side(),
            version: self.version.side(),
            lock: self.lock.side(),
            attrs_version: self.attrs_version.side(),
            net: self.net.side(),
            attrs: [self.attrs[0].side(), self.attrs[1].side()],
            inode: self.inode.side(),
        }
    }
}

/// A slot as one side uses it.
pub struct Slot<const KERNEL: bool> {
    pending: Word<KERNEL>,
    version: Word<KERNEL>,
    lock: Word<KERNEL>,
    attrs_version: Word<KERNEL>,
    net: Word<KERNEL>,
    attrs: [Word<KERNEL>; 2],
    pub inode: Word<KERNEL>,
}

pub type KernelSlot = Slot<true>;
pub type DaemonSlot = Slot<false>;

impl KernelSlot {
    /// Changes the inode as a writer does: no barrier, but under a lock of its own.
    pub fn change(&self, bit: u64) {
        self.inode.0.fetch_or(bit, Relaxed);
    }

    /// Stores the inode's attributes, of which there are two copies of one.
    pub fn store_attrs(&self) {
        let inode = self.inode.load();
        for word in &self.attrs {
            word.store(inode);
        }
    }
}

impl DaemonSlot {
    pub fn load_attrs(&self) -> [u64; 2] {
        [self.attrs[0].load(), self.attrs[1].load()]
    }
}

impl<const KERNEL: bool> protocol::Slot for Slot<KERNEL> {
    type Word = Word<KERNEL>;

    fn pending(&self) -> &Word<KERNEL> {
        &self.pending
    }

    fn version(&self) -> &Word<KERNEL> {
        &self.version
    }

    fn lock(&self) -> &Word<KERNEL> {
        &self.lock
    }

    fn attrs_version(&self) -> &Word<KERNEL> {
        &self.attrs_version
    }

    fn net(&self) -> &Word<KERNEL> {
        &self.net
    }
}
