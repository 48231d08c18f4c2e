//! The dirty ring: the kernel's (`kernel/bpf/ringbuf.c`) and aya's reader of it, with room for one record.

use std::sync::Arc;

use loom::sync::{
    Mutex,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
};
use upcall_common::{abi::SCAN, protocol};

use crate::memory::{Both, DaemonWord, KernelWord, barrier};

const CAPACITY: u64 = 1;
const BUSY: u64 = 1 << 63;

pub struct Memory {
    consumer: AtomicU64,
    producer: AtomicU64,
    producers: Mutex<()>,
    record: AtomicU64,
    /// How often the daemon has been woken.
    wakes: AtomicU64,
    scan: Both,
}

impl Memory {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            consumer: AtomicU64::new(0),
            producer: AtomicU64::new(0),
            producers: Mutex::new(()),
            record: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            scan: Both::new(),
        })
    }

    /// Where there is room for a record. The consumer's position is read before the lock is taken.
    fn reserve(&self) -> Option<u64> {
        let consumer = self.consumer.load(Acquire);
        let _guard = self.producers.lock();
        let position = self.producer.load(Relaxed);
        if position - consumer >= CAPACITY {
            return None;
        }
        self.record.store(BUSY, Relaxed);
        self.producer.store(position + 1, Release);
        Some(position)
    }

    fn output(&self, record: u32, wake: bool) -> bool {
        let Some(position) = self.reserve() else { return false };
        barrier();
        self.record.swap(u64::from(record), SeqCst);
        barrier();
        if wake || self.consumer.load(Acquire) == position {
            self.wakes.fetch_add(1, SeqCst);
        }
        true
    }
}

/// As a BPF program uses it.
pub struct Writer {
    memory: Arc<Memory>,
    scan: KernelWord,
}

impl Writer {
    pub fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), scan: memory.scan.side() }
    }
}

impl protocol::Ring for Writer {
    type Word = KernelWord;

    fn submit(&self, index: u32) -> bool {
        self.memory.output(index, false)
    }

    fn submit_wake(&self) {
        self.memory.output(SCAN, true);
    }

    fn scan(&self) -> Option<&KernelWord> {
        Some(&self.scan)
    }
}

/// As the daemon uses it.
pub struct Records {
    memory: Arc<Memory>,
    position: u64,
    produced: u64,
    must_fence: bool,
    /// The wakes that the daemon has seen, and those of them that it has acted on.
    seen: u64,
    rested: u64,
    pub scan: DaemonWord,
}

impl Records {
    pub fn new(memory: &Arc<Memory>) -> Self {
        let scan = memory.scan.side();
        let memory = Arc::clone(memory);
        Self { memory, position: 0, produced: 0, must_fence: false, seen: 0, rested: 0, scan }
    }

    /// Whether the daemon has been woken since it last went to rest.
    pub fn ready(&mut self) -> bool {
        self.seen = self.memory.wakes.load(SeqCst);
        self.seen != self.rested
    }

    /// A wake that comes after [`Self::ready`] counts as a new one.
    pub fn arm(&mut self) {
        self.rested = self.seen;
    }

    fn fence(&mut self) -> bool {
        if self.must_fence {
            barrier();
        }
        std::mem::take(&mut self.must_fence)
    }

    pub fn next(&mut self) -> Option<u32> {
        loop {
            if self.position == self.produced {
                self.fence();
                self.produced = self.memory.producer.load(Acquire);
            }
            if self.position == self.produced {
                return None;
            }
            let record = self.memory.record.load(Acquire);
            if record != BUSY {
                self.position += 1;
                self.memory.consumer.store(self.position, Release);
                self.must_fence = true;
                return Some(u32::try_from(record).expect("a record of 32 bits"));
            }
            if !self.fence() {
                return None;
            }
        }
    }
}
