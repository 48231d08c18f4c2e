//! Attaching the programs of a source.

use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, FEntry, FExit, Program as AyaProgram, ProgramError, links::FdLink},
};

use super::{
    Source,
    btf::Layout,
    hooks::{FEXIT_CORE, Kind, Program},
    kernel::Flags,
    load::{LoadError, Lost, describe},
};

/// A program at work, for as long as its link lives or is pinned.
pub(super) type Attached = (&'static Program, FdLink);

/// What the programs are attached to, and by.
pub(super) struct Attacher<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) layout: &'a Layout,
    pub(super) btf: &'a Btf,
}

impl Attacher<'_> {
    /// Attaches every program of a source, each by itself. `timestamp` needs them all, `fexit` its core.
    pub(super) fn source(&mut self, source: Source) -> Result<(Vec<Attached>, Vec<Lost>), LoadError> {
        let (mut attached, mut lost) = (Vec::new(), Vec::new());
        for program in source.programs() {
            match self.attach(program) {
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

    fn attach(&mut self, wanted: &'static Program) -> Result<FdLink, String> {
        let name = wanted.name();
        let there = match wanted.kind {
            Kind::Tracepoint => self.layout.has_tracepoint(wanted.on),
            Kind::Entry | Kind::Exit => self.layout.has_function(wanted.on),
        };
        if !there {
            return Err(format!("this kernel has no {}", wanted.on));
        }
        let program = self.ebpf.program_mut(name).ok_or("not in the BPF object")?;
        let done = match (wanted.kind, program) {
            (Kind::Tracepoint, AyaProgram::BtfTracePoint(program)) => {
                attach_tracepoint(program, wanted.on, self.btf)
            }
            (Kind::Entry, AyaProgram::FEntry(program)) => attach_entry(program, wanted.on, self.btf),
            (Kind::Exit, AyaProgram::FExit(program)) => attach_exit(program, wanted.on, self.btf),
            _ => return Err("of another type in the BPF object".into()),
        };
        done.map_err(|error| describe(&error))
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

fn attach_entry(program: &mut FEntry, on: &str, btf: &Btf) -> Result<FdLink, ProgramError> {
    program.load(on, btf)?;
    let link = program.attach()?;
    program.take_link(link).map(FdLink::from)
}

fn attach_exit(program: &mut FExit, on: &str, btf: &Btf) -> Result<FdLink, ProgramError> {
    program.load(on, btf)?;
    let link = program.attach()?;
    program.take_link(link).map(FdLink::from)
}
