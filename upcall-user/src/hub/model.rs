//! A kernel without a kernel: marks slots by the rules of the BPF programs.

use std::{
    collections::{HashMap, VecDeque},
    io,
    ops::Deref,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use upcall_common::abi::{Attrs, Key, Probe, Word};

use super::{
    ClientIndex, Hub, Index, RegisterError, Registered, Slots, Wanted, Wish,
    kernel::{Kernel, KernelCounts},
    slots::{
        View, Words, tests,
        view::{INODE, NET, PENDING, VERSION},
    },
};

/// One nanosecond clock, all inodes, and the slots.
#[derive(Default)]
pub(super) struct World {
    pub(super) now: u64,
    pub(super) realtime: (i64, u32),
    pub(super) early: bool,
    pub(super) inodes: HashMap<i32, Probe>,
    pub(super) aliases: HashMap<Key, u32>,
    pub(super) skipped: Option<u64>,
    pub(super) marked: u64,
    pub(super) dirty: Vec<u32>,
    /// What happens after each identification, one after another.
    pub(super) meanwhile: VecDeque<fn(&Model)>,
}

#[derive(Clone)]
pub(crate) struct Model {
    pub(super) world: Arc<Mutex<World>>,
    memory: Arc<Vec<Words>>,
    index: Index,
}

impl Hub {
    /// Makes one interest.
    pub(crate) fn register_one(
        &self,
        client: ClientIndex,
        file: BorrowedFd<'_>,
        wish: Wish,
        lifetime: Option<Duration>,
        known: u64,
    ) -> Result<Registered, RegisterError> {
        let wanted = Wanted { file, origin: None, wish, lifetime, known };
        self.register(client, vec![wanted]).pop().expect("a result")
    }
}

struct Memory(Arc<Vec<Words>>);

impl Deref for Memory {
    type Target = [Words];

    fn deref(&self) -> &[Words] {
        &self.0
    }
}

impl Model {
    pub(crate) fn new(slots: usize, early: bool) -> (Self, Slots) {
        let memory: Vec<Words> = (0..slots).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect();
        let world = Arc::new(Mutex::new(World { now: 1000, realtime: (1, 0), early, ..World::default() }));
        let model = Self { world, memory: Arc::new(memory), index: tests::index(slots as u32) };
        let slots = model.slots();
        (model, slots)
    }

    /// The slots as another daemon sees them.
    pub(super) fn slots(&self) -> Slots {
        Slots::new(Box::new(Memory(Arc::clone(&self.memory))), self.index.clone())
    }

    /// Nothing is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.slots().entered().is_empty()
    }

    /// What hooks do after a change.
    pub(super) fn store_attrs(&self, ino: u64) {
        let slot = self.find(ino).expect("watched");
        let world = self.world.lock().expect("world");
        let probe = world.inodes.values().find(|probe| probe.key.ino == ino).expect("an inode");
        let slots = self.slots();
        let view = slots.get(slot).expect("slot");
        view.set_attrs(view.version(), &probe.attrs);
    }

    /// An inode that was last changed long ago, known by a descriptor.
    pub(crate) fn add_inode(&self, fd: BorrowedFd<'_>, ino: u64) {
        let attrs = Attrs { nlink: 1, mode: 0o100_644, ..Attrs::default() };
        let key = Key::new(1, ino);
        let probe = Probe { key, attrs, inode: ino, generation: 1, faithful: 1, ..Probe::default() };
        self.world.lock().expect("world").inodes.insert(fd.as_raw_fd(), probe);
    }

    pub(super) fn edit(&self, ino: u64, change: impl Fn(&mut Probe)) {
        let mut world = self.world.lock().expect("world");
        world.inodes.values_mut().filter(|probe| probe.key.ino == ino).for_each(change);
    }

    /// The inode leaves memory.
    pub(super) fn evict(&self, ino: u64) {
        self.edit(ino, |probe| probe.inode = 0);
    }

    fn find(&self, ino: u64) -> Option<u32> {
        let key = Key::new(1, ino);
        self.index.find(key, |slot| View::new(&self.memory[slot as usize]).key() == key)
    }

    /// What `net()` does.
    pub(super) fn net(&self, ino: u64, thread: u64) {
        let mut world = self.world.lock().expect("world");
        let Some(slot) = self.find(ino) else { return };
        let words = &self.memory[slot as usize];
        words[NET].store(thread, SeqCst);
        if words[PENDING].fetch_or(Word::of_net().0, SeqCst) == 0 {
            world.dirty.push(slot);
        }
    }

    /// What a hook does in the thread in which the net saw something before.
    pub(super) fn hooked(&self, ino: u64, thread: u64, word: Word) {
        let slot = self.find(ino);
        if let Some(slot) = slot {
            let net = &self.memory[slot as usize][NET];
            // Another thread's stays.
            let _ = net.compare_exchange(thread, 0, SeqCst, SeqCst);
        }
        self.mark(ino, word);
    }

    /// What `mark()` does; whether the slot is newly dirty.
    pub(crate) fn mark(&self, ino: u64, word: Word) -> bool {
        let mut world = self.world.lock().expect("world");
        let Some(slot) = self.find(ino) else { return false };
        world.marked += 1;
        let words = &self.memory[slot as usize];
        words[VERSION].fetch_add(1, SeqCst);
        words[INODE].store(ino, SeqCst);
        let newly = words[PENDING].fetch_or(word.0, SeqCst) == 0;
        if newly {
            world.dirty.push(slot);
        }
        newly
    }

    pub(crate) fn take_dirty(&self) -> Vec<u32> {
        std::mem::take(&mut self.world.lock().expect("world").dirty)
    }
}

impl Kernel for Model {
    fn identify(&mut self, files: &[BorrowedFd<'_>]) -> io::Result<Vec<Option<Probe>>> {
        let mut world = self.world.lock().expect("world");
        let answers = files.iter().map(|file| world.inodes.get(&file.as_raw_fd()).copied()).collect();
        let next = world.meanwhile.pop_front();
        drop(world);
        next.into_iter().for_each(|happen| happen(self));
        Ok(answers)
    }

    fn peek(&mut self, inode: u64) -> io::Result<Option<Probe>> {
        Ok(self.world.lock().expect("world").inodes.values().find(|probe| probe.inode == inode).copied())
    }

    fn add_alias(&mut self, below: Key, slot: u32) -> io::Result<()> {
        self.world.lock().expect("world").aliases.insert(below, slot);
        Ok(())
    }

    fn remove_alias(&mut self, below: Key) -> io::Result<()> {
        self.world.lock().expect("world").aliases.remove(&below);
        Ok(())
    }

    fn skipped(&mut self) -> Option<u64> {
        self.world.lock().expect("world").skipped
    }

    fn aliases(&mut self) -> io::Result<Vec<(Key, u32)>> {
        let world = self.world.lock().expect("world");
        Ok(world.aliases.iter().map(|(key, slot)| (*key, *slot)).collect())
    }

    fn needs_aliases(&self) -> bool {
        self.world.lock().expect("world").early
    }

    fn marks_early(&self) -> bool {
        self.world.lock().expect("world").early
    }

    fn coarse_now(&self) -> u64 {
        self.world.lock().expect("world").now
    }

    fn coarse_realtime(&self) -> (i64, u32) {
        self.world.lock().expect("world").realtime
    }

    fn counts(&mut self) -> io::Result<KernelCounts> {
        Ok(KernelCounts { marked: self.world.lock().expect("world").marked, ..KernelCounts::default() })
    }
}
