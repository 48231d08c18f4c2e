//! From an earlier daemon's programs to this one's.
//!
//! When a program comes to a function or leaves it, the kernel skips the exit programs, old and new, of every call that
//! is under way there, and counts nothing. So a change that is under way while programs give way may end unmarked.

use std::{
    collections::HashSet,
    io, thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    programs::{ProgramInfo, loaded_programs},
};

use super::kernel::{Flags, ProbeWords, peek};
use crate::{
    hub::Slots,
    sys::{clock, map::MappedArray},
};

/// The maps are those of an earlier daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// There may have been changes since its end that nobody marked.
    pub gap: bool,
    /// The coarse clock before its programs gave way.
    pub since: (i64, u32),
}

/// How things are before programs give way.
pub(super) struct Before {
    /// What begins later is stamped no earlier.
    pub(super) since: (i64, u32),
    /// Changes of trampolines so far: those to come are this daemon's.
    pub(super) trampolines: u64,
}

impl Before {
    /// Inodes that are being changed count as unsettled.
    pub(super) fn note(
        slots: &Slots,
        ebpf: &Ebpf,
        answer: &MappedArray<ProbeWords>,
        flags: &Flags,
    ) -> io::Result<Self> {
        let before = Self { since: clock::coarse_realtime()?, trampolines: flags.trampolines() };
        for slot in slots.entered() {
            let Some(view) = slots.get(slot) else { continue };
            let probe = peek(ebpf, answer, view.inode())?;
            if probe.is_some_and(|probe| probe.busy != 0 && slots.is_of(slot, probe.key, probe.generation)) {
                view.set_unsettled(true);
            }
        }
        Ok(before)
    }
}

/// The kernel detaches what is no longer pinned by and by: seconds where everything is emulated.
const DETACH: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until programs are detached, for some time.
pub(super) fn until_gone(programs: &HashSet<u32>) {
    let end = Instant::now() + DETACH;
    while still_loaded(programs).next().is_some() {
        if Instant::now() >= end {
            tracing::warn!("programs of an earlier daemon are still in the kernel");
            break;
        }
        thread::sleep(LOOK);
    }
}

/// Those of these programs that the kernel has. Any program of the host may go while it is asked about: an error.
pub(super) fn still_loaded(programs: &HashSet<u32>) -> impl Iterator<Item = ProgramInfo> {
    loaded_programs().filter_map(Result::ok).filter(|program| programs.contains(&program.id()))
}
