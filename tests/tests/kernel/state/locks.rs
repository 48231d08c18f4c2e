//! > Held against local processes by open-file-description locks of the daemon (local fcntl lockers see and respect them, and
//! > the reverse). A blocked request is granted later, in order, with cancel; deadlock between clients is detected.

use std::time::Duration;

use anyhow::{bail, ensure};
use libtest_mimic::Completion;
use tests::{Result, filesystem::Filesystem, listener::block_on};
use tokio::time::{sleep, timeout};
use upcall_client::{Access, Code, Grant, LeaseKind, LockKind, LockRequest, StateNotice, Who};

use super::{
    Stage,
    holder::{Holder, refused},
};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("state::locks_of_clients_and_of_local_processes_exclude_each_other", local);
    trials.daemon(
        "state::a_lock_that_may_not_wait_is_answered_while_its_owner_waits_for_a_local_process",
        behind,
    );
    trials.daemon("state::locks_split_and_merge_and_reach_the_last_byte", ranges);
    trials.daemon("state::a_lock_that_waits_is_granted_in_order_and_may_be_cancelled", waits);
    trials.daemon("state::owners_that_would_wait_for_each_other_are_refused", deadlock);
    trials.daemon("state::contention_is_told_once_a_delay_and_not_once_it_is_over", contention);
    trials.daemon("state::a_file_under_a_lease_is_not_locked_in_the_kernel", leased);
    trials.on_each("state::a_read_lock_is_in_the_way_of_no_read_lease", beside_a_read_lease);
    trials.daemon("state::a_lock_under_way_does_not_break_a_lease_of_its_own_client", under_way);
    trials.daemon("state::a_client_that_is_gone_has_no_locks_after_the_grace_period", gone);
}

const R: LockKind = LockKind::Read;
const W: LockKind = LockKind::Write;

fn wanted(owner: u64, kind: LockKind, start: u64, length: u64) -> LockRequest {
    LockRequest::new(owner, kind, start, length)
}

/// The outcome of a lock that waited.
async fn outcome(holder: &mut Holder) -> Result<(u64, Result<(), Code>)> {
    match holder.hear("the outcome of a lock").await? {
        StateNotice::LockGranted { request, outcome, .. } => {
            Ok((request, outcome.map(drop).map_err(|error| error.code)))
        }
        other => bail!("not the outcome of a lock: {other:?}"),
    }
}

async fn waiting(holder: &Holder, open: u64, lock: LockRequest) -> Result<u64> {
    match holder.state.lock(open, lock.wait(true)).await? {
        Grant::Waiting(request) => Ok(request),
        Grant::Granted(_) => bail!("it was granted at once"),
    }
}

/// Nor of `execve`: the daemon opens the file for reading.
fn beside_a_read_lease(filesystem: &Filesystem) -> Result<Completion> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let leased = b.hold(&stage.file, 1, LeaseKind::Read).await?;
        b.give_back(leased, LeaseKind::Read).await?;
        let locked = a.open(&stage.file, 1, Access::Read).await?;
        a.lock(locked, 1, R, (0, 10)).await?;
        b.lease(leased, LeaseKind::Read).await?;
        b.heard_nothing().await?;
        Ok(Completion::Completed)
    })
}

fn under_way(filesystem: &Filesystem) -> Result<()> {
    const ROUNDS: u64 = 200;
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        for owner in 0..tests::deadline::rounds(ROUNDS) {
            let open = holder.open(&stage.file, 1, Access::Both).await?;
            let lock = wanted(owner, W, 0, 1).wait(true);
            let (locked, leased) =
                tokio::join!(holder.state.lock(open, lock), holder.state.lease(open, LeaseKind::Write));
            // One of them may be refused, for the other's sake.
            ensure!(locked.is_ok() || leased.is_ok());
            let heard = holder.heard().await?;
            let recalled = heard.iter().any(|notice| matches!(notice, StateNotice::Recall { .. }));
            ensure!(!recalled, "its own lock broke its lease");
            holder.state.close(open).await?;
        }
        Ok(())
    })
}

fn local(filesystem: &Filesystem) -> Result<Completion> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut a = Holder::begin(&stage.daemon.unix(), "a").await?;
        let open = a.open(&stage.file, 1, Access::Both).await?;
        a.lock(open, 1, W, (10, 10)).await?;
        a.lock(open, 2, R, (30, 10)).await?;
        stage.other.hold(&stage.file)?;
        for (start, length) in [(19, 1), (30, 1), (0, 0)] {
            ensure!(stage.other.lock_held(true, start, length)? == Err(libc::EAGAIN), "{start}");
        }
        ensure!(stage.other.lock_held(true, 0, 10)? == Ok(()));
        let denied = a.state.lock(open, wanted(1, R, 5, 1)).await;
        ensure!(refused(denied)? == Code::LocalConflict);
        let blocker = a.state.test_lock(open, wanted(1, R, 5, 1)).await?;
        let blocker = blocker.filter(|it| (it.kind, it.start, it.length) == (W, 0, 10));
        ensure!(blocker.is_some_and(|it| it.who == Who::Process(stage.other.pid())));
        ensure!(a.state.test_lock(open, wanted(9, W, 20, 5)).await?.is_none());
        // It waits for the local process.
        let request = waiting(&a, open, wanted(1, R, 5, 1)).await?;
        ensure!(stage.other.lock_held(false, 0, 10)? == Ok(()));
        ensure!(outcome(&mut a).await? == (request, Ok(())));
        ensure!(stage.other.lock_held(true, 5, 1)? == Err(libc::EAGAIN));
        // A wait that is cancelled leaves nothing.
        ensure!(stage.other.lock_held(true, 50, 1)? == Ok(()));
        let request = waiting(&a, open, wanted(1, W, 50, 1)).await?;
        a.state.cancel(request).await?;
        ensure!(outcome(&mut a).await? == (request, Err(Code::Cancelled)));
        ensure!(stage.other.lock_held(false, 50, 1)? == Ok(()));
        ensure!(stage.other.lock_held(true, 50, 1)? == Ok(()));
        a.state.unlock(open, 1, 0, 0).await?;
        ensure!(stage.other.lock_held(true, 0, 30)? == Ok(()));
        a.state.close(open).await?;
        ensure!(stage.other.lock_held(true, 0, 0)? == Ok(()));
        Ok(Completion::Completed)
    })
}

fn behind(filesystem: &Filesystem) -> Result<()> {
    const SOON: Duration = Duration::from_secs(1);
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut a = Holder::begin(&stage.daemon.unix(), "a").await?;
        let open = a.open(&stage.file, 1, Access::Both).await?;
        stage.other.hold(&stage.file)?;
        ensure!(stage.other.lock_held(true, 0, 10)? == Ok(()));
        let request = waiting(&a, open, wanted(1, W, 0, 10)).await?;
        let second = timeout(SOON, a.state.lock(open, wanted(1, W, 0, 5))).await?;
        ensure!(refused(second)? == Code::Conflict);
        a.state.cancel(request).await?;
        ensure!(outcome(&mut a).await? == (request, Err(Code::Cancelled)));
        // Gone while it waits, it leaves nothing.
        waiting(&a, open, wanted(1, W, 0, 10)).await?;
        drop(a);
        stage.nothing_left().await
    })
}

fn ranges(filesystem: &Filesystem) -> Result<()> {
    const MANY: u64 = 2000;
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let (of_a, of_b) =
            (a.open(&stage.file, 1, Access::Both).await?, b.open(&stage.file, 1, Access::Both).await?);
        a.lock(of_a, 1, W, (0, 100)).await?;
        a.state.unlock(of_a, 1, 40, 20).await?;
        b.lock(of_b, 1, W, (40, 20)).await?;
        ensure!(refused(b.state.lock(of_b, wanted(1, R, 39, 1)).await)? == Code::Conflict);
        b.state.unlock(of_b, 1, 40, 20).await?;
        a.lock(of_a, 1, W, (40, 20)).await?;
        let blocker = b.state.test_lock(of_b, wanted(1, W, 50, 1)).await?;
        ensure!(blocker.is_some_and(|it| (it.start, it.length) == (0, 100)), "they did not merge");
        // The kernel counts to 2^63 - 1, the protocol to 2^64 - 1.
        a.lock(of_a, 2, W, (1 << 63, 1)).await?;
        a.lock(of_a, 2, W, (u64::MAX, 1)).await?;
        ensure!(refused(a.state.lock(of_a, wanted(2, W, u64::MAX, 2)).await)? == Code::BadRange);
        ensure!(refused(b.state.lock(of_b, wanted(1, R, 200, 0)).await)? == Code::Conflict);
        a.state.unlock(of_a, 2, 0, 0).await?;
        for number in 0..MANY {
            b.lock(of_b, 3, W, (1000 + 2 * number, 1)).await?;
        }
        stage.other.hold(&stage.file)?;
        ensure!(stage.other.lock_held(true, 1000 + 2 * (MANY as i64) - 2, 1)? == Err(libc::EAGAIN));
        ensure!(stage.other.lock_held(true, 1001, 1)? == Ok(()));
        b.state.unlock(of_b, 3, 0, 0).await?;
        ensure!(stage.other.lock_held(true, 1000, 0)? == Ok(()));
        Ok(())
    })
}

fn waits(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let mut c = Holder::begin(&stage.daemon.unix(), "c").await?;
        let of_a = a.open(&stage.file, 1, Access::Both).await?;
        let of_b = b.open(&stage.file, 1, Access::Both).await?;
        let of_c = c.open(&stage.file, 1, Access::Both).await?;
        a.lock(of_a, 1, R, (0, 10)).await?;
        let first = waiting(&b, of_b, wanted(1, W, 0, 10)).await?;
        // A reader may not overtake the writer that waits.
        let second = waiting(&c, of_c, wanted(1, R, 5, 1)).await?;
        let third = waiting(&c, of_c, wanted(2, W, 0, 1)).await?;
        c.state.cancel(third).await?;
        ensure!(outcome(&mut c).await? == (third, Err(Code::Cancelled)));
        a.state.unlock(of_a, 1, 0, 10).await?;
        ensure!(outcome(&mut b).await? == (first, Ok(())));
        // The reader goes on waiting, now for it.
        let contended = b.hear("contention").await?;
        let StateNotice::Contention { who, .. } = contended else { bail!("not contention: {contended:?}") };
        ensure!(who == Who::Client("c".into()), "{who:?}");
        c.heard_nothing().await?;
        b.state.unlock(of_b, 1, 0, 10).await?;
        ensure!(outcome(&mut c).await? == (second, Ok(())));
        // What waits on an open ends with it.
        a.lock(of_a, 1, W, (20, 1)).await?;
        let last = waiting(&b, of_b, wanted(1, W, 20, 1)).await?;
        b.state.close(of_b).await?;
        ensure!(outcome(&mut b).await? == (last, Err(Code::Released)));
        Ok(())
    })
}

fn deadlock(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let of_a = a.open(&stage.file, 1, Access::Both).await?;
        let of_b = b.open(&stage.file, 1, Access::Both).await?;
        a.lock(of_a, 1, W, (0, 1)).await?;
        b.lock(of_b, 1, W, (1, 1)).await?;
        let request = waiting(&a, of_a, wanted(1, W, 1, 1)).await?;
        let ring = b.state.lock(of_b, wanted(1, W, 0, 1).wait(true)).await;
        ensure!(refused(ring)? == Code::Deadlock);
        b.state.unlock(of_b, 1, 1, 1).await?;
        loop {
            // It is told that the other one wanted its lock as well.
            match a.hear("the lock").await? {
                StateNotice::Contention { .. } => {}
                StateNotice::LockGranted { request: of, outcome: Ok(_), .. } => {
                    ensure!(of == request);
                    return Ok(());
                }
                other => bail!("not the lock: {other:?}"),
            }
        }
    })
}

fn contention(filesystem: &Filesystem) -> Result<()> {
    const DELAY: Duration = Duration::from_millis(500);
    let stage = Stage::with(filesystem, &format!("contention_ms = {}", DELAY.as_millis()))?;
    block_on(async {
        let (mut a, b) = stage.two().await?;
        let of_a = a.open(&stage.file, 1, Access::Both).await?;
        let of_b = b.open(&stage.file, 1, Access::Both).await?;
        a.lock(of_a, 1, W, (0, 10)).await?;
        let asked = std::time::Instant::now();
        waiting(&b, of_b, wanted(1, W, 0, 1)).await?;
        let told = |notice| match notice {
            StateNotice::Contention { owner, start, length, who, .. } => {
                ensure!((owner, start, length, who) == (1, 0, 1, Who::Client("b".into())));
                Ok(())
            }
            other => bail!("no contention: {other:?}"),
        };
        told(a.hear("contention").await?)?;
        waiting(&b, of_b, wanted(2, W, 5, 1)).await?;
        // Again after the delay, not before, since somebody still waits.
        told(a.hear("contention").await?)?;
        ensure!(asked.elapsed() >= DELAY, "twice within the delay");
        a.state.unlock(of_a, 1, 0, 10).await?;
        a.listener.quiet().await?;
        // No event says that there is none.
        sleep(2 * DELAY).await;
        a.heard_nothing().await
    })
}

fn leased(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, _) = stage.two().await?;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        ensure!(refused(a.state.lock(open, wanted(1, W, 0, 1)).await)? == Code::Unsupported);
        a.give_back(open, LeaseKind::Write).await?;
        a.lock(open, 1, W, (0, 1)).await?;
        ensure!(refused(a.state.lease(open, LeaseKind::Write).await)? == Code::Unsupported);
        a.heard_nothing().await
    })
}

fn gone(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let (mut a, mut b) = stage.two().await?;
        let of_a = a.open(&stage.file, 1, Access::Both).await?;
        let of_b = b.open(&stage.file, 1, Access::Both).await?;
        a.lock(of_a, 1, W, (0, 10)).await?;
        let request = waiting(&b, of_b, wanted(1, W, 0, 1)).await?;
        drop(a);
        ensure!(outcome(&mut b).await? == (request, Ok(())));
        drop(b);
        stage.nothing_left().await?;
        stage.other.hold(&stage.file)?;
        ensure!(stage.other.lock_held(true, 0, 0)? == Ok(()));
        Ok(())
    })
}
