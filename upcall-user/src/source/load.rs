//! Loading and attaching.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf},
    programs::{BtfTracePoint, FEntry, FExit, Program as AyaProgram, ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use upcall_common::abi::maps;

use super::{
    Source, SourceChoice,
    btf::{Layout, LayoutError},
    hooks::{FEXIT_CORE, Kind, Program},
    kernel::{BpfKernel, Flags, Maps},
    misses::Misses,
    syscalls,
};
use crate::{hub::Words, sys::map::MappedArray};

/// The committed object. Aligned: ELF headers are read in place.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../upcall-ebpf/upcall.bpf.o"));

/// How much memory the maps take.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub slots: u32,
    pub dirty_ring_bytes: u32,
    pub event_ring_bytes: u32,
}

/// A program of the source that is not at work.
#[derive(Clone, Debug)]
pub struct Lost {
    pub program: &'static Program,
    pub why: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(
        "the kernel refused to load BPF maps: {0}; upcall needs CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN (run it as root), and a kernel whose lockdown mode allows BPF"
    )]
    Object(#[from] aya::EbpfError),
    #[error("the kernel refused BPF program {name}: {reason}")]
    Program { name: &'static str, reason: String },
    #[error("source {} does not work on this kernel: {why}; `upcall doctor` says what does", source_name.name())]
    Source { source_name: Source, why: String },
    #[error(
        "no source works on this kernel. fexit: {fexit}. timestamp: {timestamp}. upcall needs BPF trampolines (Linux 6.1 or later, not hardened against them) or the inode timestamp tracepoints (Linux 6.13 or later)"
    )]
    NoSource { fexit: String, timestamp: String },
    #[error("the BPF object lacks {0}; build it again with `cargo xtask ebpf`")]
    Incomplete(&'static str),
    #[error("cannot reach the BPF maps: {0}")]
    Maps(#[from] aya::maps::MapError),
    #[error("cannot map the slots into memory: {0}")]
    Memory(#[from] io::Error),
}

/// A source at work. Dropping it detaches the programs.
pub struct Loaded {
    pub source: Source,
    /// Whether the timestamp tracepoints watch for what the hooks of `fexit` miss.
    pub net: bool,
    /// Programs of the source that the kernel lacks or refused.
    pub lost: Vec<Lost>,
    pub attached: Vec<&'static Program>,
    pub misses: Arc<Misses>,
    pub kernel: BpfKernel,
    pub slots: MappedArray<Words>,
    pub dirty: RingBuf<MapData>,
    pub events: RingBuf<MapData>,
    pub log: Option<EbpfLogger<&'static dyn log::Log>>,
}

/// Loads the programs and attaches those of the chosen source.
pub fn load(choice: SourceChoice, sizes: Sizes, log_level: u8) -> Result<Loaded, LoadError> {
    let layout = Layout::of_running_kernel()?;
    let btf = Btf::from_sys_fs().map_err(aya::EbpfError::from)?;
    let mut ebpf = load_object(&layout, &btf, sizes, log_level)?;
    let control =
        MappedArray::new(map_fd(ebpf.map(maps::CONTROL).ok_or(LoadError::Incomplete(maps::CONTROL))?)?, 1)?;
    let flags = Flags::new(control);
    let (source, mut attached, lost) = match choice {
        SourceChoice::Fexit => with_source(&mut ebpf, Source::Fexit, &layout, &btf)?,
        SourceChoice::Timestamp => with_source(&mut ebpf, Source::Timestamp, &layout, &btf)?,
        SourceChoice::Auto => match with_source(&mut ebpf, Source::Fexit, &layout, &btf) {
            Ok(done) => done,
            Err(fexit) => with_source(&mut ebpf, Source::Timestamp, &layout, &btf)
                .map_err(|timestamp| LoadError::NoSource { fexit: why(fexit), timestamp: why(timestamp) })?,
        },
    };
    let net = source == Source::Fexit && spread_net(&mut ebpf, &flags, &layout, &btf, &mut attached);
    let misses = Arc::new(Misses::of(descriptors(&ebpf, &attached)?, net));
    let log = EbpfLogger::init(&mut ebpf).ok();
    for name in ["identify", "peek"] {
        program::<RawTracePoint>(&mut ebpf, name)?.load().map_err(|error| refused(name, &error))?;
    }
    let mut table: Array<_, [u32; 3]> = take(&mut ebpf, maps::SYSCALLS)?.try_into()?;
    for (number, call) in syscalls::table() {
        table.set(number, [call.file, call.dir, call.op], 0)?;
    }
    let (slots, probe) = (take(&mut ebpf, maps::SLOTS)?, take(&mut ebpf, maps::PROBE)?);
    let slots = MappedArray::new(map_fd(&slots)?, sizes.slots as usize)?;
    let probe = MappedArray::new(map_fd(&probe)?, 1)?;
    let watched: HashMap<_, [u64; 2], u32> = take(&mut ebpf, maps::WATCHED)?.try_into()?;
    let aliases: HashMap<_, [u64; 2], u32> = take(&mut ebpf, maps::ALIASES)?.try_into()?;
    let counters: PerCpuArray<_, u64> = take(&mut ebpf, maps::COUNTERS)?.try_into()?;
    let dirty = take(&mut ebpf, maps::DIRTY)?.try_into()?;
    let events = take(&mut ebpf, maps::EVENTS)?.try_into()?;
    let maps = Maps { watched, aliases, counters, probe };
    let kernel = BpfKernel::new(ebpf, source, maps, flags, Arc::clone(&misses));
    Ok(Loaded { source, net, lost, attached, misses, kernel, slots, dirty, events, log })
}

fn load_object(layout: &Layout, btf: &Btf, sizes: Sizes, log_level: u8) -> Result<Ebpf, LoadError> {
    let offsets = layout.offsets()?.words();
    Ok(EbpfLoader::new()
        .btf(Some(btf))
        .override_global("OFFSETS", &offsets, true)
        .override_global("AYA_LOG_LEVEL", &log_level, false)
        .map_max_entries(maps::SLOTS, sizes.slots)
        .map_max_entries(maps::WATCHED, sizes.slots)
        .map_max_entries(maps::ALIASES, sizes.slots)
        .map_max_entries(maps::DIRTY, sizes.dirty_ring_bytes)
        .map_max_entries(maps::EVENTS, sizes.event_ring_bytes)
        .load(OBJECT)?)
}

type Attached = (Source, Vec<&'static Program>, Vec<Lost>);

/// Attaches every program of a source, each by itself. `timestamp` needs them all, `fexit` its core.
fn with_source(ebpf: &mut Ebpf, source: Source, layout: &Layout, btf: &Btf) -> Result<Attached, LoadError> {
    let (mut attached, mut lost) = (Vec::new(), Vec::new());
    for program in source.programs() {
        match attach(ebpf, program, layout, btf) {
            Ok(()) => attached.push(program),
            Err(why) => {
                let needed = match source {
                    Source::Timestamp => true,
                    Source::Fexit => FEXIT_CORE.contains(&program.hook),
                };
                if needed {
                    for program in attached {
                        detach(ebpf, program);
                    }
                    let why = format!("{}: {why}", program.name());
                    return Err(LoadError::Source { source_name: source, why });
                }
                lost.push(Lost { program, why });
            }
        }
    }
    Ok((source, attached, lost))
}

/// Attaches the timestamp tracepoints below the hooks, where this kernel has them: what they alone see is a change
/// that no hook knows of. Whether they are at work.
fn spread_net(
    ebpf: &mut Ebpf,
    flags: &Flags,
    layout: &Layout,
    btf: &Btf,
    attached: &mut Vec<&'static Program>,
) -> bool {
    // Before they attach: without it they would mark as a source does.
    flags.set_net(true);
    match with_source(ebpf, Source::Timestamp, layout, btf) {
        Ok((_, net, _)) => {
            attached.extend(net);
            true
        }
        Err(error) => {
            tracing::debug!(%error, "no safety net below the hooks");
            false
        }
    }
}

fn attach(ebpf: &mut Ebpf, wanted: &'static Program, layout: &Layout, btf: &Btf) -> Result<(), String> {
    let name = wanted.name();
    let there = match wanted.kind {
        Kind::Tracepoint => layout.has_tracepoint(wanted.on),
        Kind::Entry | Kind::Exit => layout.has_function(wanted.on),
    };
    if !there {
        return Err(format!("this kernel has no {}", wanted.on));
    }
    let program = ebpf.program_mut(name).ok_or("not in the BPF object")?;
    let done = match (wanted.kind, program) {
        (Kind::Tracepoint, AyaProgram::BtfTracePoint(program)) => attach_tracepoint(program, wanted.on, btf),
        (Kind::Entry, AyaProgram::FEntry(program)) => attach_entry(program, wanted.on, btf),
        (Kind::Exit, AyaProgram::FExit(program)) => attach_exit(program, wanted.on, btf),
        _ => return Err("of another type in the BPF object".into()),
    };
    done.map_err(|error| describe(&error))
}

/// A source that is given up must not go on marking.
fn detach(ebpf: &mut Ebpf, wanted: &Program) {
    let done = match ebpf.program_mut(wanted.name()) {
        Some(AyaProgram::BtfTracePoint(program)) => program.unload(),
        Some(AyaProgram::FEntry(program)) => program.unload(),
        Some(AyaProgram::FExit(program)) => program.unload(),
        _ => return,
    };
    if let Err(error) = done {
        tracing::warn!(%error, program = wanted.name(), "cannot unload a BPF program");
    }
}

fn descriptors<'a>(ebpf: &Ebpf, attached: &[&'a Program]) -> Result<Vec<(&'a Program, OwnedFd)>, LoadError> {
    let of = |wanted: &&'a Program| {
        let program = ebpf.program(wanted.name()).ok_or(LoadError::Incomplete(wanted.name()))?;
        let fd = program.fd().map_err(|error| refused(wanted.name(), &error))?;
        Ok((*wanted, fd.as_fd().try_clone_to_owned()?))
    };
    attached.iter().map(of).collect()
}

fn attach_tracepoint(program: &mut BtfTracePoint, on: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(on, btf)?;
    program.attach().map(drop)
}

fn attach_entry(program: &mut FEntry, on: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(on, btf)?;
    program.attach().map(drop)
}

fn attach_exit(program: &mut FExit, on: &str, btf: &Btf) -> Result<(), ProgramError> {
    program.load(on, btf)?;
    program.attach().map(drop)
}

/// The whole chain of causes, but of the verifier's log only the end: it may be megabytes.
fn describe(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        let tail: Vec<_> = log.lines().rev().filter(|line| !line.is_empty()).take(3).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join(" | ");
        return format!("the verifier or a security policy refused it: {io_error} {tail}")
            .trim_end()
            .to_owned();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn refused(name: &'static str, error: &ProgramError) -> LoadError {
    LoadError::Program { name, reason: describe(error) }
}

fn why(error: LoadError) -> String {
    match error {
        LoadError::Source { why, .. } => why,
        other => other.to_string(),
    }
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

fn map_fd(map: &Map) -> Result<std::os::fd::BorrowedFd<'_>, LoadError> {
    match map {
        Map::Array(data) => Ok(data.fd().as_fd()),
        _ => Err(LoadError::Incomplete("an array map")),
    }
}
