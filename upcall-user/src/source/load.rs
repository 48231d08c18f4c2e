//! Loading and attaching.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{Program as AyaProgram, RawTracePoint, links::FdLink},
};
use aya_log::EbpfLogger;
use upcall_common::{
    abi::{Offsets, PROBES, maps},
    index::buckets,
};

use super::{
    Source, SourceChoice,
    attach::{Attached, Attacher},
    btf::Layout,
    error::{LoadError, Lost, refused, why},
    hooks::Program,
    kernel::{BpfKernel, Flags, Maps, Programs},
    pins::{self, PinSet, Pins},
    skips::{self, Skips},
    syscalls,
    takeover::{self, Before, Takeover},
};
use crate::{
    hub::{Index, Slots},
    sys::map::{MappedArray, Shared},
};

/// The committed object. Aligned: ELF headers are read in place.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../upcall-ebpf/upcall.bpf.o"));

/// How much memory the maps take.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub slots: u32,
    pub dirty_ring_bytes: u32,
    pub event_ring_bytes: u32,
}

/// A source at work. Dropping it detaches the programs, unless they are pinned.
pub struct Loaded {
    pub source: Source,
    /// Whether the timestamp tracepoints watch for what the hooks of `fexit` miss.
    pub net: bool,
    /// Programs of the source that the kernel lacks or refused.
    pub lost: Vec<Lost>,
    pub attached: Vec<&'static Program>,
    pub skips: Arc<Skips>,
    pub kernel: BpfKernel,
    pub slots: Slots,
    pub dirty: RingBuf<MapData>,
    pub events: RingBuf<MapData>,
    /// Of the running kernel.
    pub offsets: Offsets,
    pub log: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Names this life of the maps.
    pub epoch: u64,
    /// Maps and programs outlive the daemon.
    pub pinned: bool,
    pub takeover: Option<Takeover>,
}

/// Loads the programs and attaches those of the chosen source. With `pins`, takes over what is pinned there, or pins
/// maps and programs. `epoch`: the name of a new life of the maps, not 0.
pub fn load(
    choice: SourceChoice,
    sizes: Sizes,
    log_level: u8,
    pins: Option<&Pins>,
    epoch: u64,
) -> Result<Loaded, LoadError> {
    let layout = Layout::of_running_kernel()?;
    let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
    let set = pins.map(|pins| pins.set(sizes)).transpose()?;
    let offsets = layout.offsets()?;
    let mut ebpf = load_object(&offsets, &btf, sizes, log_level, set.as_ref())?;
    let control = array(&ebpf, maps::CONTROL, 1)?;
    let flags = Flags::new(control);
    flags.set_events(false);
    let seed = flags.index_seed(buckets(sizes.slots));
    for name in ["identify", "peek"] {
        program::<RawTracePoint>(&mut ebpf, name)?.load().map_err(|error| refused(name, &error))?;
    }
    // These keep their descriptors, by which the kernel says what the daemon's maps take.
    let slots = array(&ebpf, maps::SLOTS, sizes.slots)?;
    let index = Index::new(Arc::new(array(&ebpf, maps::INDEX, buckets(sizes.slots))?), seed);
    let slots = Slots::new(Box::new(slots), index);
    let probes = array(&ebpf, maps::PROBES, PROBES)?;
    let before = match &set {
        Some(set) if set.whole => Some(Before::note(&slots, &ebpf, &probes, &flags)?),
        _ => None,
    };
    let mut attacher = Attacher { ebpf: &mut ebpf, layout: &layout, btf: &btf };
    let (source, mut attached, mut lost) = choose(&mut attacher, choice)?;
    let net = (source == Source::Fexit).then(|| attacher.net(&flags)).flatten();
    flags.set_net(net.is_some());
    let has_net = net.is_some();
    if source == Source::Fexit {
        let (counting, uncounted) = attacher.trampolines(&attached)?;
        attached.extend(counting);
        lost.extend(uncounted);
    }
    attached.extend(net.into_iter().flatten());
    let (programs, links): (Vec<_>, Vec<_>) = attached.into_iter().unzip();
    let (links, takeover) = match &set {
        Some(set) => keep(set, &programs, links, &flags, before)?,
        None => (links, None),
    };
    let skips = Arc::new(Skips::of(descriptors(&ebpf, &programs)?, has_net, flags.clone()));
    if takeover.is_none() {
        // From here on the pins are whole.
        flags.set_epoch(epoch);
    }
    let log = EbpfLogger::init(&mut ebpf).ok();
    let mut table: Array<_, [u32; 3]> = take(&mut ebpf, maps::SYSCALLS)?.try_into()?;
    for (number, call) in syscalls::table() {
        table.set(number, [call.file, call.dir, call.op], 0)?;
    }
    let aliases: HashMap<_, [u64; 2], u32> = take(&mut ebpf, maps::ALIASES)?.try_into()?;
    let counters: PerCpuArray<_, u64> = take(&mut ebpf, maps::COUNTERS)?.try_into()?;
    let dirty = take(&mut ebpf, maps::DIRTY)?.try_into()?;
    let events = take(&mut ebpf, maps::EVENTS)?.try_into()?;
    let maps = Maps { aliases, counters, probes };
    let epoch = flags.epoch();
    let kernel = BpfKernel::new(Programs { ebpf, links }, source, maps, flags, Arc::clone(&skips));
    Ok(Loaded {
        source,
        net: has_net,
        lost,
        attached: programs,
        skips,
        kernel,
        slots,
        dirty,
        events,
        offsets,
        log,
        epoch,
        pinned: set.is_some(),
        takeover,
    })
}

/// What would be lost of a source at work. Whatever is at work already misses nothing by it.
pub(super) fn rehearse(source: Source, sizes: Sizes) -> Result<Vec<Lost>, LoadError> {
    let layout = Layout::of_running_kernel()?;
    let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
    let mut ebpf = load_object(&layout.offsets()?, &btf, sizes, 0, None)?;
    Attacher { ebpf: &mut ebpf, layout: &layout, btf: &btf }.rehearse(source)
}

/// Pins the links in the place of an earlier daemon's, if there was one, and returns them.
fn keep(
    set: &PinSet,
    programs: &[&'static Program],
    links: Vec<FdLink>,
    flags: &Flags,
    before: Option<Before>,
) -> Result<(Vec<FdLink>, Option<Takeover>), LoadError> {
    let old = set.programs()?;
    // The new programs are at work by now: what the old ones miss from here on, these see.
    let takeover = match before {
        Some(Before { since, trampolines }) => {
            let skipped = skips::of_programs(&old)?.map(|skipped| skipped + trampolines);
            Some(Takeover { gap: skipped != Some(flags.skips()), since })
        }
        None => None,
    };
    // Until clients are safe from the gap, and the new programs' count is known.
    flags.set_skips(u64::MAX);
    let links = set.keep(programs.iter().map(|program| program.name()).zip(links).collect(), flags)?;
    takeover::until_gone(&old);
    Ok((links, takeover))
}

fn choose(
    attacher: &mut Attacher<'_>,
    choice: SourceChoice,
) -> Result<(Source, Vec<Attached>, Vec<Lost>), LoadError> {
    let mut with = |source| attacher.source(source).map(|(attached, lost)| (source, attached, lost));
    match choice {
        SourceChoice::Fexit => with(Source::Fexit),
        SourceChoice::Timestamp => with(Source::Timestamp),
        SourceChoice::Auto => with(Source::Fexit).or_else(|fexit| {
            with(Source::Timestamp)
                .map_err(|timestamp| LoadError::NoSource { fexit: why(fexit), timestamp: why(timestamp) })
        }),
    }
}

fn load_object(
    offsets: &Offsets,
    btf: &Btf,
    sizes: Sizes,
    log_level: u8,
    set: Option<&PinSet>,
) -> Result<Ebpf, LoadError> {
    let offsets = offsets.words();
    let mut loader = EbpfLoader::new();
    loader
        .btf(Some(btf))
        .override_global("OFFSETS", &offsets, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries(maps::SLOTS, sizes.slots)
        .map_max_entries(maps::INDEX, buckets(sizes.slots))
        .map_max_entries(maps::ALIASES, sizes.slots)
        .map_max_entries(maps::DIRTY, sizes.dirty_ring_bytes)
        .map_max_entries(maps::EVENTS, sizes.event_ring_bytes);
    if let Some(set) = set {
        for name in pins::MAPS {
            loader.map_pin_path(name, set.map(name));
        }
    }
    Ok(loader.load(OBJECT)?)
}

fn descriptors<'a>(ebpf: &Ebpf, attached: &[&'a Program]) -> Result<Vec<(&'a Program, OwnedFd)>, LoadError> {
    let of = |wanted: &&'a Program| {
        let program = ebpf.program(wanted.name()).ok_or(LoadError::Incomplete(wanted.name()))?;
        let fd = program.fd().map_err(|error| refused(wanted.name(), &error))?;
        Ok((*wanted, fd.as_fd().try_clone_to_owned()?))
    };
    attached.iter().map(of).collect()
}

pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut AyaProgram>,
{
    ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or(LoadError::Incomplete(name))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete(name))
}

fn array<T: Shared>(ebpf: &Ebpf, name: &'static str, elements: u32) -> Result<MappedArray<T>, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => {
            MappedArray::new(data.fd().as_fd(), elements as usize).map_err(LoadError::Memory)
        }
        _ => Err(LoadError::Incomplete(name)),
    }
}
