//! The daemon's view of the children that BPF programs take from a pool.

use std::{
    collections::VecDeque,
    mem::offset_of,
    ops::Deref,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

use upcall_common::abi::{Child, Place, Slot};

use super::place::{Below, Located};
use crate::hub::slots::{View, Words};

/// A child as words.
pub type ChildWords = [AtomicU64; size_of::<Child>() / 8];

const SLOT_WORDS: usize = size_of::<Slot>() / 8;
const STATE: usize = offset_of!(Child, state) / 8;
const PLACE: usize = offset_of!(Child, place) / 8;
const PLACE_END: usize = PLACE + size_of::<Place>() / 8;

/// A program that found a child just before it was given up may still touch it; a mark that comes too late is repeated
/// by whoever made it. Such programs run for microseconds.
const REST: Duration = Duration::from_millis(10);

/// All children.
pub struct Pool {
    memory: Box<dyn Deref<Target = [ChildWords]> + Send>,
    resting: VecDeque<(Instant, u32)>,
}

/// Where a child was before its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) below: Vec<Below>,
    /// It was in no scope, or did not exist, when it was first marked.
    pub(super) elsewhere: bool,
    /// Nor was it at its last mark, which did not move it.
    pub(super) stayed: bool,
    pub(super) cut: bool,
}

impl Pool {
    pub fn new(memory: Box<dyn Deref<Target = [ChildWords]> + Send>) -> Self {
        Self { memory, resting: VecDeque::new() }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.memory.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn get(&self, child: u32) -> Option<View<'_>> {
        let words = self.memory.get(child as usize)?.get(..SLOT_WORDS)?;
        <&Words>::try_from(words).ok().map(View::new)
    }

    fn state(&self, child: u32) -> u64 {
        self.memory.get(child as usize).map_or(Child::FREE, |words| words[STATE].load(SeqCst))
    }

    /// Whether it stands for an inode.
    pub(super) fn is_taken(&self, child: u32) -> bool {
        self.state(child) != Child::FREE
    }

    pub(super) fn before(&self, child: u32) -> Before {
        let state = self.state(child);
        let elsewhere = state != Child::PLACED;
        if state != Child::PLACED && state != Child::PLACED_LATER {
            return Before { elsewhere, stayed: state == Child::ELSEWHERE, ..Before::default() };
        }
        let words = self.memory.get(child as usize).and_then(|words| words.get(PLACE..PLACE_END));
        let Located { below, cut } = Located::read(words.unwrap_or_default()).unwrap_or_default();
        Before { below, elsewhere, stayed: false, cut }
    }

    /// Nobody finds it any more: it rests, and can be taken anew after that.
    pub(super) fn give_up(&mut self, child: u32, now: Instant) {
        if let Some(words) = self.memory.get(child as usize) {
            words[STATE].store(Child::FREE, SeqCst);
            self.resting.push_back((now + REST, child));
        }
    }

    pub(super) fn next_rested(&self) -> Option<Instant> {
        self.resting.front().map(|(end, _)| *end)
    }

    /// One that has rested.
    pub(super) fn pop_rested(&mut self, now: Instant) -> Option<u32> {
        let (_, child) = self.resting.pop_front_if(|(end, _)| *end <= now)?;
        if let Some(view) = self.get(child) {
            view.take();
        }
        Some(child)
    }
}
