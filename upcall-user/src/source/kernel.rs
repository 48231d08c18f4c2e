//! The hub's view of a loaded source.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    mem::offset_of,
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, PerCpuArray},
    programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun, links::FdLink},
};
use upcall_common::{
    abi::{self, Control, Counter, Key, Probe},
    protocol,
};

use super::{Skips, Source};
use crate::{
    hub::{Kernel, KernelCounts},
    sys::{clock, map::MappedArray},
};

pub(super) type ProbeWords = [AtomicU64; size_of::<Probe>() / 8];
type ControlWords = [AtomicU64; size_of::<Control>() / 8];

/// Which word of the control record a field is.
macro_rules! word {
    ($field:ident) => {
        offset_of!(Control, $field) / 8
    };
}

/// Flags that the daemon shares with the BPF programs.
#[derive(Clone)]
pub struct Flags(Arc<MappedArray<ControlWords>>);

impl Flags {
    pub(super) fn new(control: MappedArray<ControlWords>) -> Self {
        Self(Arc::new(control))
    }

    /// Whether a BPF program found the dirty ring full since the last call.
    pub fn take_scan(&self) -> bool {
        self.word(word!(scan)).is_some_and(protocol::take_scan)
    }

    /// Whether BPF programs write events.
    pub fn set_events(&self, on: bool) {
        self.set(word!(events_on), u64::from(on));
    }

    /// Whether the timestamp tracepoints are the safety net.
    pub(super) fn set_net(&self, on: bool) {
        self.set(word!(net), u64::from(on));
    }

    /// See [`Control::epoch`].
    pub(super) fn epoch(&self) -> u64 {
        self.get(word!(epoch))
    }

    pub(super) fn set_epoch(&self, epoch: u64) {
        self.set(word!(epoch), epoch);
    }

    /// See [`Control::links`].
    pub(super) fn links(&self) -> u64 {
        self.get(word!(links))
    }

    pub(super) fn set_links(&self, links: u64) {
        self.set(word!(links), links);
    }

    /// See [`Control::skips`].
    pub(super) fn skips(&self) -> u64 {
        self.get(word!(skips))
    }

    pub(super) fn set_skips(&self, skips: u64) {
        self.set(word!(skips), skips);
    }

    fn get(&self, index: usize) -> u64 {
        self.word(index).map_or(0, |word| word.load(SeqCst))
    }

    fn set(&self, index: usize, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, SeqCst);
        }
    }

    /// See [`Control::trampolines`].
    pub(super) fn trampolines(&self) -> u64 {
        self.get(word!(trampolines))
    }

    /// The seed of the index, which has so many buckets: an earlier daemon's, or a new one.
    pub(super) fn index_seed(&self, buckets: u32) -> u64 {
        if self.get(word!(seed)) == 0 {
            // The standard library's hashers have random keys.
            self.set(word!(seed), RandomState::new().hash_one(0) | 1);
        }
        self.set(word!(buckets), u64::from(buckets));
        self.get(word!(seed))
    }

    /// From now on BPF programs look for aliases.
    fn set_aliases(&self) {
        self.set(word!(aliases), 1);
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.0.first().and_then(|control| control.get(index))
    }
}

/// The loaded programs, and the links of those that are attached and not pinned: they go when it is dropped.
pub(super) struct Programs {
    pub(super) ebpf: Ebpf,
    #[expect(dead_code, reason = "kept for what dropping them does")]
    pub(super) links: Vec<FdLink>,
}

/// The loaded programs and their maps.
pub struct BpfKernel {
    programs: Programs,
    source: Source,
    maps: Maps,
    flags: Flags,
    skips: Arc<Skips>,
}

/// The maps that only the hub uses.
pub(super) struct Maps {
    pub(super) aliases: HashMap<MapData, [u64; 2], u32>,
    pub(super) counters: PerCpuArray<MapData, u64>,
    pub(super) probes: MappedArray<ProbeWords>,
}

impl BpfKernel {
    pub(super) fn new(
        programs: Programs,
        source: Source,
        maps: Maps,
        flags: Flags,
        skips: Arc<Skips>,
    ) -> Self {
        Self { programs, source, maps, flags, skips }
    }

    pub fn flags(&self) -> Flags {
        self.flags.clone()
    }

    fn count(&self, counter: Counter) -> io::Result<u64> {
        let values = self.maps.counters.get(&(counter as u32), 0).map_err(io::Error::other)?;
        Ok(values.iter().sum())
    }
}

/// Runs one of the identity programs in this thread's context.
fn run(ebpf: &Ebpf, name: &'static str, argument: u64) -> io::Result<()> {
    let program: &RawTracePoint = ebpf
        .program(name)
        .and_then(|program: &Program| program.try_into().ok())
        .ok_or_else(|| io::Error::other(format!("no BPF program {name}")))?;
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = argument;
    program.test_run(options).map_err(io::Error::other)?;
    Ok(())
}

/// The answers of the last run.
fn answers(probes: &MappedArray<ProbeWords>) -> impl Iterator<Item = Option<Probe>> {
    probes.iter().map(|words| {
        let probe = Probe::from_words(std::array::from_fn(|word| words[word].load(SeqCst)));
        (probe.inode != 0).then_some(probe)
    })
}

/// What is at the address where an inode was last seen.
pub(super) fn peek(ebpf: &Ebpf, probes: &MappedArray<ProbeWords>, inode: u64) -> io::Result<Option<Probe>> {
    run(ebpf, "peek", inode)?;
    answers(probes).next().ok_or_else(|| io::Error::other("the map of probes is empty"))
}

impl Kernel for BpfKernel {
    fn identify(&mut self, files: &[BorrowedFd<'_>]) -> io::Result<Vec<Option<Probe>>> {
        let mut found = Vec::with_capacity(files.len());
        for files in files.chunks(self.maps.probes.len()) {
            for (words, file) in self.maps.probes.iter().zip(files) {
                let number = u64::try_from(file.as_raw_fd()).map_err(io::Error::other)?;
                words[Probe::INODE].store(number, SeqCst);
            }
            run(&self.programs.ebpf, "identify", files.len() as u64)?;
            found.extend(answers(&self.maps.probes).take(files.len()));
        }
        Ok(found)
    }

    fn peek(&mut self, inode: u64) -> io::Result<Option<Probe>> {
        peek(&self.programs.ebpf, &self.maps.probes, inode)
    }

    fn add_alias(&mut self, below: Key, slot: u32) -> io::Result<()> {
        self.flags.set_aliases();
        self.maps.aliases.insert(below.words(), slot, 0).map_err(io::Error::other)
    }

    fn remove_alias(&mut self, below: Key) -> io::Result<()> {
        self.maps.aliases.remove(&below.words()).map_err(io::Error::other)
    }

    fn aliases(&mut self) -> io::Result<Vec<(Key, u32)>> {
        pairs(&self.maps.aliases)
    }

    fn needs_aliases(&self) -> bool {
        self.source == Source::Timestamp
    }

    fn skipped(&mut self) -> Option<u64> {
        self.skips.backed().unwrap_or_else(|error| {
            tracing::error!("{error}");
            None
        })
    }

    fn marks_early(&self) -> bool {
        self.source == Source::Timestamp
    }

    fn coarse_now(&self) -> u64 {
        // The clock cannot fail; if it did, everything unsettled would be due.
        clock::coarse_monotonic_ns().unwrap_or(u64::MAX)
    }

    fn coarse_realtime(&self) -> (i64, u32) {
        // As above: then nothing counts as resting.
        clock::coarse_realtime().unwrap_or((i64::MIN, 0))
    }

    fn counts(&mut self) -> io::Result<KernelCounts> {
        Ok(KernelCounts {
            marked: self.count(Counter::Marked)?,
            coalesced: self.count(Counter::Coalesced)?,
            ring_full: self.count(Counter::RingFull)?,
            events: self.count(Counter::Events)?,
            events_lost: self.count(Counter::EventsLost)?,
        })
    }
}

fn pairs(map: &HashMap<MapData, [u64; 2], u32>) -> io::Result<Vec<(Key, u32)>> {
    let pairs = map.iter().map(|pair| pair.map(|(key, slot)| (Key::from_words(key), slot)));
    pairs.collect::<Result<_, _>>().map_err(io::Error::other)
}

const _: () = assert!(abi::COUNTERS == 5);
