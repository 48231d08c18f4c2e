//! Which processor a thread, and what it starts, may use.

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Until dropped, this thread has a processor of its own choice only.
#[derive(Debug)]
pub struct Pinned(CpuSet);

/// The writer's processor; nothing else is pinned there.
pub fn writer() -> Result<Pinned> {
    pin(|cpu| cpu == 0)
}

/// All but the writer's, where there are others; for daemons, clients and peers, which inherit it.
pub fn others() -> Result<Pinned> {
    pin(|cpu| cpu != 0)
}

fn pin(wanted: impl Fn(usize) -> bool) -> Result<Pinned> {
    let before = sched_getaffinity(THIS_THREAD)?;
    let mut set = CpuSet::new();
    let mut any = false;
    for cpu in 0..CpuSet::count() {
        if before.is_set(cpu)? && wanted(cpu) {
            set.set(cpu)?;
            any = true;
        }
    }
    sched_setaffinity(THIS_THREAD, if any { &set } else { &before })?;
    Ok(Pinned(before))
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It was allowed before.
        let _ = sched_setaffinity(THIS_THREAD, &self.0);
    }
}
