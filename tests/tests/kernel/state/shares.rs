//! > Deny enforced on local processes where the `bpf` LSM is active, otherwise the grant says `advisory`; existing local
//! > openers that already conflict are found at grant time. Released on disconnect after the grace period.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{bail, ensure};
use tests::{Result, attempt::Attempt, filesystem::Filesystem, listener::block_on, program};
use upcall_client::{Access, Code, Deny, Grant, LeaseId, OpenRequest};

use super::{
    GRACE, Stage,
    holder::{Holder, granted, refused},
    until,
};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("state::a_deny_mode_holds_local_processes_or_says_that_it_does_not", denied);
    trials.daemon("state::a_deny_mode_is_refused_beside_a_local_opener", beside);
    trials.daemon("state::a_deny_mode_is_refused_beside_what_another_client_has_open_itself", beside_client);
    trials.daemon("state::what_is_denied_ends_with_the_client_and_with_the_daemon", ended);
    trials.daemon("state::share_reservations_of_clients_exclude_each_other", clients);
}

/// Every way to a file's data by its name or handle.
const WRITES: [Attempt; 5] =
    [Attempt::Append, Attempt::Truncate, Attempt::OpenTruncate, Attempt::UringAppend, Attempt::HandleAppend];

/// Denies writing; whether the kernel enforces it.
async fn deny(holder: &Holder, stage: &Stage) -> Result<(u64, bool)> {
    let request = || OpenRequest::path(&stage.file, 1).lease_id(LeaseId([1; 16])).deny(Deny::Write);
    let enforces = holder.state.begun().means.kernel_denies;
    if !enforces {
        ensure!(refused(holder.state.open(request()).await)? == Code::Unsupported);
    }
    match holder.state.open(request().advisory_ok(true)).await? {
        Grant::Granted(opened) if opened.advisory != enforces => Ok((opened.open, enforces)),
        other => bail!("the grant does not fit what the kernel can: {other:?}"),
    }
}

fn denied(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        let (open, enforced) = deny(&holder, &stage).await?;
        let writing = if enforced { Err(libc::EBUSY) } else { Ok(()) };
        for attempt in WRITES {
            ensure!(stage.other.attempt(attempt, &stage.file)? == writing, "{attempt:?}");
        }
        ensure!(stage.other.attempt(Attempt::Read, &stage.file)? == Ok(()));
        holder.state.close(open).await?;
        for attempt in WRITES {
            ensure!(stage.other.attempt(attempt, &stage.file)? == Ok(()), "{attempt:?} after the release");
        }
        Ok(())
    })
}

fn beside(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        stage.other.hold(&stage.file)?;
        let request = OpenRequest::path(&stage.file, 1).deny(Deny::Write).advisory_ok(true);
        ensure!(refused(holder.state.open(request).await)? == Code::LocalConflict);
        // A refusal denies nobody anything.
        ensure!(stage.other.attempt(Attempt::Append, &stage.file)? == Ok(()));
        stage.other.release()?;
        deny(&holder, &stage).await?;
        Ok(())
    })
}

/// To be a client excuses nobody but who asks.
fn beside_client(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    let (connect, elsewhere) = (stage.daemon.unix().to_string(), stage.scene.file("elsewhere")?);
    let own = File::options().append(true).open(&stage.file)?;
    let mut command = Command::new(program::upcall()?);
    command
        .args(["share", "--access", "r", "--deny", "none", "--json", "--connect", &connect])
        .arg(&elsewhere);
    command.stdin(own.try_clone()?).stdout(Stdio::piped());
    block_on(async {
        let holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        let client = Ended(command.spawn()?);
        // It has begun.
        until("the other client to open a file", || Ok(shown(&stage)?.contains("elsewhere"))).await?;
        let request = OpenRequest::path(&stage.file, 1).deny(Deny::Write).advisory_ok(true);
        ensure!(refused(holder.state.open(request).await)? == Code::LocalConflict);
        drop(client);
        // The asker's own descriptor is no obstacle.
        deny(&holder, &stage).await?;
        drop(own);
        Ok(())
    })
}

/// Ends when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shown(stage: &Stage) -> Result<String> {
    let connect = stage.daemon.unix().to_string();
    let output = program::output(["status", "--state", "--json", "--connect", &connect])?;
    Ok(String::from_utf8(output.stdout)?)
}

fn ended(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::with(filesystem, "")?;
    block_on(async {
        let holder = Holder::begin(&stage.daemon.unix(), "a").await?;
        let (_, enforced) = deny(&holder, &stage).await?;
        let gone = Instant::now();
        drop(holder);
        until("the file to be writable again", || {
            Ok(stage.other.attempt(Attempt::Append, &stage.file)?.is_ok())
        })
        .await?;
        ensure!(!enforced || gone.elapsed() >= GRACE, "it ended before the grace period");
        stage.nothing_left().await?;
        let holder = Holder::begin(&stage.daemon.unix(), "b").await?;
        deny(&holder, &stage).await?;
        if enforced {
            ensure!(stage.other.attempt(Attempt::Append, &stage.file)? == Err(libc::EBUSY));
        }
        stage.own()?.kill()?;
        // Some kernels let go of its programs in the background.
        until("the file to be writable without the daemon", || {
            Ok(stage.other.attempt(Attempt::Append, &stage.file)?.is_ok())
        })
        .await
    })
}

fn clients(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    block_on(async {
        let (a, b) = stage.two().await?;
        let (open, _) = deny(&a, &stage).await?;
        let writer = || b.try_open(&stage.file, 1, Access::Write, Deny::None);
        ensure!(refused(writer().await)? == Code::Conflict);
        let reader = b.open(&stage.file, 1, Access::Read).await?;
        // A wider one is refused and changes nothing; a narrower one is not.
        ensure!(refused(a.state.change(open, Access::Read, Deny::Both).await)? == Code::Conflict);
        ensure!(refused(writer().await)? == Code::Conflict);
        a.state.change(open, Access::Read, Deny::None).await?;
        writer().await?;
        b.state.close(reader).await?;
        drop(b);
        let wanted = || a.try_open(&stage.file, 2, Access::Both, Deny::None);
        granted(&[Code::Conflict], wanted).await?;
        Ok(())
    })
}
