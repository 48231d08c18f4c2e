//! Runs of BPF programs that did not happen: the kernel skips a program that is already running on that CPU (in a
//! task that was preempted, say). What it would have marked is unmarked. Where the safety net still saw it, the
//! hub tells of it; otherwise nobody knows of which inode it was, and every client must start anew. So it is when
//! somebody has changed the trampoline of a function: the exit programs of calls that were under way are skipped.

use std::{
    collections::HashSet,
    fs, io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use upcall_common::abi::Hook;

use super::{
    error::LoadError,
    hooks::{Kind, Program},
    kernel::Flags,
    takeover::still_loaded,
};

/// What a skipped run of a program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The safety net itself, or a tracepoint that is the source.
    Tracepoint,
    /// The safety net sees the same changes.
    Backed,
    /// Nothing else sees them.
    Alone,
}

impl Class {
    fn of(program: &Program) -> Self {
        match program.hook {
            _ if program.kind == Kind::Tracepoint => Self::Tracepoint,
            // No timestamp changes with these, or not on every filesystem; or what is missed is a mapping.
            Hook::FileIoctlEntry
            | Hook::MntDropWriteFile
            | Hook::InodeDioWaitEntry
            | Hook::TruncatePagecacheRangeEntry
            | Hook::VfsDedupeFileRangeOne
            | Hook::VfsRename
            | Hook::FsverityIoctlEnable
            | Hook::MmapFileEntry
            | Hook::FileMprotectEntry
            | Hook::BpfTrampolineLinkProg
            | Hook::BpfTrampolineUnlinkProg => Self::Alone,
            _ => Self::Backed,
        }
    }
}

/// Skipped runs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    tracepoint: u64,
    backed: u64,
    alone: u64,
    /// Changes of trampolines: each may have cost any number of runs.
    trampolines: u64,
}

impl Counts {
    fn sum(self) -> u64 {
        self.tracepoint + self.backed + self.alone + self.trampolines
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// There may have been changes of which nobody will tell.
    pub gap: bool,
    /// Skipped runs of all programs.
    skips: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot ask the kernel whether it skipped BPF programs: {0}")]
pub struct Unknown(#[from] io::Error);

/// The programs at work, and the counts when last looked at.
pub struct Skips {
    programs: Vec<(Class, OwnedFd)>,
    /// Whether there is a safety net.
    net: bool,
    flags: Flags,
    known: Mutex<Known>,
}

/// Counts at earlier looks.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    last: Counts,
    /// At the last periodic look and the one before.
    periods: [Counts; 2],
}

impl Known {
    /// Whether there may be changes since the last look of which nobody will tell.
    fn update(&mut self, now: Counts, periodic: bool, net: bool) -> bool {
        let gap = is_gap(self.periods[1], self.last, now, net);
        self.last = now;
        if periodic {
            self.periods = [now, self.periods[0]];
        }
        gap
    }
}

impl Skips {
    pub(super) fn of(programs: Vec<(&Program, OwnedFd)>, net: bool, flags: Flags) -> Self {
        let programs = programs.into_iter().map(|(program, fd)| (Class::of(program), fd)).collect();
        // Those so far are the daemon's own, or were looked at when it took over.
        let now = Counts { trampolines: flags.trampolines(), ..Counts::default() };
        Self { programs, net, flags, known: Mutex::new(Known { last: now, periods: [now; 2] }) }
    }

    /// Looks for changes since the last look of which nobody will tell. Takes about 3 us a program. A tracepoint skipped
    /// within the last two periods may belong to a hook skipped now.
    pub fn look(&self, periodic: bool) -> Result<Finding, Unknown> {
        let now = self.count(|_| true)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Finding { gap: known.update(now, periodic, self.net), skips: now.sum() })
    }

    /// No client can miss what the look found, whatever becomes of the daemon.
    pub fn told(&self, finding: &Finding) {
        self.flags.set_skips(finding.skips);
    }

    /// Skipped runs so far of hooks below which there is the safety net; `None` without one.
    pub(super) fn backed(&self) -> Result<Option<u64>, Unknown> {
        if !self.net {
            return Ok(None);
        }
        Ok(Some(self.count(|class| class == Class::Backed)?.backed))
    }

    fn count(&self, wanted: impl Fn(Class) -> bool) -> io::Result<Counts> {
        let mut counts = Counts { trampolines: self.flags.trampolines(), ..Counts::default() };
        for (class, program) in self.programs.iter().filter(|(class, _)| wanted(*class)) {
            let count = match class {
                Class::Tracepoint => &mut counts.tracepoint,
                Class::Backed => &mut counts.backed,
                Class::Alone => &mut counts.alone,
            };
            *count += skips_of(program.as_fd())?;
        }
        Ok(counts)
    }
}

/// A tracepoint may be skipped at the begin of a long write, and the hook at its end.
fn is_gap(before: Counts, last: Counts, now: Counts, net: bool) -> bool {
    let backed = now.backed > last.backed;
    let tracepoint = now.tracepoint > if net { before.tracepoint } else { last.tracepoint };
    now.alone > last.alone
        || now.trampolines > last.trampolines
        || if net { backed && tracepoint } else { backed || tracepoint }
}

/// Skipped runs of programs, known by their ids; `None` if not all were found.
pub(super) fn of_programs(ids: &HashSet<u32>) -> Result<Option<u64>, LoadError> {
    let (mut sum, mut found) = (0, 0);
    for program in still_loaded(ids) {
        let fd = program.fd().map_err(|error| LoadError::Pinned(error.to_string()))?;
        sum += skips_of(fd.as_fd())?;
        found += 1;
    }
    Ok((found == ids.len()).then_some(sum))
}

/// Skipped runs of the program behind a descriptor.
fn skips_of(program: BorrowedFd<'_>) -> io::Result<u64> {
    fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).map(|info| count_in(&info))
}

/// The count in what the kernel says of a program's descriptor; kernels that have none skip none.
fn count_in(info: &str) -> u64 {
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_the_description_of_a_program() {
        assert_eq!(count_in("pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\n"), 12);
        assert_eq!(count_in("pos:\t0\n"), 0);
    }

    #[test]
    fn a_tracepoint_is_remembered_for_two_periods_however_often_somebody_looks() {
        let tracepoint = Counts { tracepoint: 1, ..Counts::default() };
        let both = Counts { backed: 1, ..tracepoint };
        let mut known = Known::default();
        for periodic in [false, true, false, false] {
            assert!(!known.update(tracepoint, periodic, true));
        }
        assert!(known.clone().update(both, false, true));
        for _ in 0..2 {
            assert!(!known.update(tracepoint, true, true));
        }
        assert!(!known.update(both, false, true), "too long ago");
    }

    #[test]
    fn a_hook_that_was_skipped_is_a_gap_unless_the_net_held() {
        let none = Counts::default();
        let gap = |now, net| is_gap(none, none, now, net);
        assert!(!gap(none, false) && !gap(none, true));
        let backed = Counts { backed: 1, ..none };
        assert!(gap(backed, false) && !gap(backed, true));
        assert!(gap(Counts { tracepoint: 1, ..backed }, true));
        let tracepoint = Counts { tracepoint: 1, ..none };
        assert!(is_gap(none, tracepoint, Counts { backed: 1, ..tracepoint }, true), "one after the other");
        assert!(gap(tracepoint, false) && !gap(tracepoint, true));
        assert!(gap(Counts { alone: 1, ..none }, true));
        let trampolines = Counts { trampolines: 1, ..none };
        assert!(gap(trampolines, false) && gap(trampolines, true));
    }
}
