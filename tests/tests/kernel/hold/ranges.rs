//! > Byte-range locks: local fcntl lockers see and respect them, and the reverse.

use std::{fs::File, os::fd::AsFd, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use libtest_mimic::Completion;
use tests::{
    Result, deadline::patience, filesystem::Filesystem, helper::Helper, listener::block_on, scene::Scene,
};
use tokio::time::timeout;
use upcall_user::hold::{Access, Conflict, Range, RangeError, RangeKind, Ranges};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("hold::local_lockers_meet_ranges", met_by_local_lockers);
    trials.on_each("hold::ranges_meet_local_lockers", meet_local_lockers);
    trials.on_each("hold::two_owners_of_ranges_conflict_and_one_does_not", owners);
    trials.on_each("hold::a_range_that_is_waited_for_is_had_when_it_is_free", waited_for);
}

const fn range(start: u64, length: u64) -> Range {
    Range { start, length }
}

fn ranges(file: &Path) -> Result<Ranges> {
    Ok(Ranges::open(File::open(file)?.as_fd(), Access::Both)?)
}

/// Another process, which has the file open.
struct Locker(Helper);

impl Locker {
    fn start(file: &Path) -> Result<Self> {
        let mut helper = Helper::start()?;
        helper.hold(file)?;
        Ok(Self(helper))
    }

    fn locks(&mut self, start: i64, length: i64) -> Result<bool> {
        match self.0.lock_held(true, start, length)? {
            Ok(()) => Ok(true),
            Err(libc::EAGAIN | libc::EACCES) => Ok(false),
            Err(number) => bail!(std::io::Error::from_raw_os_error(number)),
        }
    }

    fn unlocks(&mut self, start: i64, length: i64) -> Result<()> {
        ensure!(self.0.lock_held(false, start, length)?.is_ok());
        Ok(())
    }
}

fn met_by_local_lockers(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let ours = ranges(&file)?;
    let mut local = Locker::start(&file)?;
    ours.lock(RangeKind::Write, range(100, 100))?;
    ensure!(!local.locks(150, 1)?);
    ensure!(local.locks(0, 100)?);
    ours.unlock(range(150, 1))?;
    ensure!(local.locks(150, 1)?);
    ensure!(!local.locks(149, 1)? && !local.locks(151, 1)?);
    // Beyond what the kernel counts: to the end, and no further.
    ours.lock(RangeKind::Read, range(1000, u64::MAX))?;
    ensure!(!local.locks(i64::MAX, 1)?);
    ours.lock(RangeKind::Write, range(u64::MAX, 0))?;
    drop(ours);
    ensure!(local.locks(0, 0)?);
    Ok(Completion::Completed)
}

fn meet_local_lockers(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let ours = ranges(&file)?;
    let mut local = Locker::start(&file)?;
    ensure!(local.locks(10, 10)?);
    let wanted = range(0, 0);
    ensure!(matches!(ours.lock(RangeKind::Read, wanted), Err(RangeError::Conflict)));
    let conflict = Conflict { kind: RangeKind::Write, range: range(10, 10), pid: Some(local.0.pid()) };
    ensure!(ours.test(RangeKind::Read, wanted)? == Some(conflict));
    ensure!(ours.test(RangeKind::Read, range(0, 10))?.is_none());
    ours.lock(RangeKind::Write, range(0, 10))?;
    local.unlocks(10, 10)?;
    ours.lock(RangeKind::Write, wanted)?;
    Ok(Completion::Completed)
}

fn owners(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let (one, other) = (ranges(&file)?, ranges(&file)?);
    one.lock(RangeKind::Read, range(0, 10))?;
    other.lock(RangeKind::Read, range(5, 10))?;
    ensure!(matches!(one.lock(RangeKind::Write, range(0, 10)), Err(RangeError::Conflict)));
    let held = Conflict { kind: RangeKind::Read, range: range(5, 10), pid: None };
    ensure!(one.test(RangeKind::Write, range(0, 0))? == Some(held));
    one.lock(RangeKind::Write, range(0, 5))?;
    one.unlock(range(0, 0))?;
    one.unlock(range(0, 0))?;
    other.lock(RangeKind::Write, range(0, 0))?;
    let reader = Ranges::open(File::open(&file)?.as_fd(), Access::Read)?;
    ensure!(matches!(reader.lock(RangeKind::Write, range(0, 1)), Err(RangeError::Other(_))));
    Ok(Completion::Completed)
}

fn waited_for(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let ours = ranges(&file)?;
    let mut local = Locker::start(&file)?;
    ensure!(local.locks(0, 1)?);
    block_on(async {
        let mut wait = std::pin::pin!(ours.wait(RangeKind::Write, range(0, 0)));
        let early = timeout(Duration::from_millis(20), &mut wait).await;
        ensure!(early.is_err(), "a lock was had that another process holds");
        local.unlocks(0, 1)?;
        timeout(patience(), wait).await.context("the lock was never had")??;
        ensure!(!local.locks(0, 1)?);
        Ok(())
    })?;
    // A wait that is given up leaves nothing.
    let other = ranges(&file)?;
    block_on(async {
        let wait = other.wait(RangeKind::Read, range(0, 0));
        ensure!(timeout(Duration::from_millis(5), wait).await.is_err());
        Ok(())
    })?;
    ours.unlock(range(0, 0))?;
    ensure!(local.locks(0, 0)?);
    Ok(Completion::Completed)
}
