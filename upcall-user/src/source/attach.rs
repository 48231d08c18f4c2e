//! Attaching the programs of a source.

use aya::{
    Btf, Ebpf,
    maps::HashMap,
    programs::{BtfTracePoint, Program as AyaProgram, ProgramError, links::FdLink},
};

use upcall_common::abi::maps;

use super::{
    Source,
    btf::Layout,
    error::{LoadError, Lost, describe},
    hooks::{FEXIT_CORE, Kind, Program, TRAMPOLINES},
    kernel::Flags,
};

/// A program at work, for as long as its link lives or is pinned.
pub(super) type Attached = (&'static Program, FdLink);

/// Programs with what came of each, and those that are lost.
pub(super) type Outcome<T> = (Vec<(&'static Program, T)>, Vec<Lost>);

/// What the programs are attached to, and by.
pub(super) struct Attacher<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) layout: &'a Layout,
    pub(super) btf: &'a Btf,
}

impl Attacher<'_> {
    /// Attaches every program of a source, each by itself. `timestamp` needs them all, `fexit` its core.
    pub(super) fn source(&mut self, source: Source) -> Result<Outcome<FdLink>, LoadError> {
        self.each(source, source.programs(), Self::load_and_attach)
    }

    /// Attaches what counts changes of the trampolines of exit programs.
    pub(super) fn trampolines(&mut self, attached: &[Attached]) -> Result<Outcome<FdLink>, LoadError> {
        let map = self.ebpf.map_mut(maps::HOOKED).ok_or(LoadError::Incomplete(maps::HOOKED))?;
        let mut hooked: HashMap<_, u32, u32> = map.try_into()?;
        for (program, _) in attached.iter().filter(|(program, _)| program.kind == Kind::Exit) {
            if let Some(function) = self.layout.function_id(program.on) {
                hooked.insert(function, 0, 0)?;
            }
        }
        self.each(Source::Fexit, TRAMPOLINES, Self::load_and_attach)
    }

    /// Loads every program of a source, and attaches those that do so without a change that others miss: they are
    /// detached at once. Returns those that the kernel refused.
    pub(super) fn rehearse(&mut self, source: Source) -> Result<Vec<Lost>, LoadError> {
        let (tried, lost) = self.each(source, source.programs(), |this, program| {
            this.load(program)?;
            program.spares_exits().then(|| this.attach(program)).transpose()
        })?;
        let refused = lost.iter().rfind(|lost| lost.program.spares_exits());
        match refused {
            Some(Lost { program, why }) if tried.iter().all(|(_, link)| link.is_none()) => {
                Err(LoadError::Source { source_name: source, why: format!("{}: {why}", program.name()) })
            }
            _ => Ok(lost),
        }
    }

    /// Ends at the first program without which the source is none.
    fn each<T>(
        &mut self,
        source: Source,
        programs: &'static [Program],
        attach: impl Fn(&mut Self, &'static Program) -> Result<T, String>,
    ) -> Result<Outcome<T>, LoadError> {
        let (mut attached, mut lost) = (Vec::new(), Vec::new());
        for program in programs {
            match attach(self, program) {
                Ok(link) => attached.push((program, link)),
                Err(why) => {
                    let needed = match source {
                        Source::Timestamp => true,
                        Source::Fexit => FEXIT_CORE.contains(&program.hook),
                    };
                    if needed {
                        // The links go here: a source that is given up must not go on marking.
                        let why = format!("{}: {why}", program.name());
                        return Err(LoadError::Source { source_name: source, why });
                    }
                    lost.push(Lost { program, why });
                }
            }
        }
        Ok((attached, lost))
    }

    /// Attaches the timestamp tracepoints below the hooks, where this kernel has them: what they alone see is a change
    /// that no hook knows of.
    pub(super) fn net(&mut self, flags: &Flags) -> Option<Vec<Attached>> {
        // Before they attach: without it they would mark as a source does.
        flags.set_net(true);
        match self.source(Source::Timestamp) {
            Ok((net, _)) => Some(net),
            Err(error) => {
                tracing::debug!(%error, "no safety net below the hooks");
                None
            }
        }
    }

    fn load_and_attach(&mut self, wanted: &'static Program) -> Result<FdLink, String> {
        self.load(wanted)?;
        self.attach(wanted)
    }

    fn load(&mut self, wanted: &'static Program) -> Result<(), String> {
        let there = match wanted.kind {
            Kind::Tracepoint => self.layout.has_tracepoint(wanted.on),
            Kind::Entry | Kind::Exit => self.layout.has_function(wanted.on),
        };
        if !there {
            return Err(format!("this kernel has no {}", wanted.on));
        }
        let (on, btf) = (wanted.on, self.btf);
        let program = self.ebpf.program_mut(wanted.name()).ok_or("not in the BPF object")?;
        let loaded = match (wanted.kind, program) {
            (Kind::Tracepoint, AyaProgram::BtfTracePoint(program)) => program.load(on, btf),
            (Kind::Entry, AyaProgram::FEntry(program)) => program.load(on, btf),
            (Kind::Exit, AyaProgram::FExit(program)) => program.load(on, btf),
            _ => return Err("of another type in the BPF object".into()),
        };
        loaded.map_err(|error| describe(&error))
    }

    /// It must have been loaded.
    fn attach(&mut self, wanted: &'static Program) -> Result<FdLink, String> {
        let program = self.ebpf.program_mut(wanted.name()).ok_or("not in the BPF object")?;
        let attached = match program {
            AyaProgram::BtfTracePoint(program) => {
                program.attach().and_then(|link| program.take_link(link)).map(FdLink::from)
            }
            AyaProgram::FEntry(program) => {
                program.attach().and_then(|link| program.take_link(link)).map(FdLink::from)
            }
            AyaProgram::FExit(program) => {
                program.attach().and_then(|link| program.take_link(link)).map(FdLink::from)
            }
            _ => return Err("of another type in the BPF object".into()),
        };
        attached.map_err(|error| describe(&error))
    }
}

pub(super) fn attach_tracepoint(
    program: &mut BtfTracePoint,
    on: &str,
    btf: &Btf,
) -> Result<FdLink, ProgramError> {
    program.load(on, btf)?;
    let link = program.attach()?;
    program.take_link(link).map(FdLink::from)
}
