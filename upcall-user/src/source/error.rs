//! What keeps a source, or a program of it, from working.

use std::io;

use aya::programs::ProgramError;

use super::{Source, btf::LayoutError, hooks::Program, pins::PinError};

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
    #[error(transparent)]
    Pins(#[from] PinError),
    #[error("what is pinned cannot be taken over: {0}; `upcall detach` removes it")]
    Pinned(String),
    #[error("cannot map the slots into memory: {0}")]
    Memory(io::Error),
    #[error("cannot ask the kernel about programs and inodes: {0}")]
    Kernel(#[from] io::Error),
}

/// The whole chain of causes, but of the verifier's log only the end: it may be megabytes.
pub(super) fn describe(error: &ProgramError) -> String {
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

pub(super) fn refused(name: &'static str, error: &ProgramError) -> LoadError {
    LoadError::Program { name, reason: describe(error) }
}

pub(super) fn why(error: LoadError) -> String {
    match error {
        LoadError::Source { why, .. } => why,
        other => other.to_string(),
    }
}
