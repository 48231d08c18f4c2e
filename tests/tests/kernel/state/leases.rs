//! > A client's conflicting request and a local process's open, truncate, rename or unlink both recall.
//! > A lease promises: between grant and recall nobody else changed the file.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    attempt::{APPENDED, Attempt},
    daemon::Daemon,
    filesystem::Filesystem,
    listener::block_on,
    scene::Scene,
    sharer::{Sharer, Trick, WRITTEN},
};
use upcall_client::{
    Access, Code, Deny, Error, Grant, Keep, LeaseKind, LockKind, LockRequest, OpenRequest, Who,
};

use super::{
    Stage,
    holder::{Holder, Recalled, refused},
};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("state::a_local_reader_waits_until_the_client_returns_its_write_lease", returned);
    trials.on_each("state::a_local_writer_waits_until_the_client_returns_its_read_lease", written);
    trials.on_each("state::a_reader_sees_what_the_holder_wrote_back_before_it_returned", flushed);
    for (name, trick) in [
        ("state::a_client_without_rights_writes_back_before_it_returns", Trick::None),
        ("state::who_has_the_daemon_signalled_by_whoever_takes_the_lease_does_it_no_harm", Trick::Whoever),
        ("state::who_chooses_the_daemon_to_be_signalled_of_a_break_does_it_no_harm", Trick::Daemon),
    ] {
        trials.on_each(name, move |filesystem| shared(filesystem, trick));
    }
    trials.daemon("state::a_lease_that_is_not_returned_is_revoked_at_the_deadline", revoked);
    trials.daemon("state::a_recall_is_extended_once", extended);
    trials.daemon("state::what_the_kernel_does_not_hold_recalls_after_it", beside);
    trials.on_each("state::whatever_others_set_of_a_leased_file_recalls", set);
    trials.on_each("state::a_holder_s_own_changes_recall_none_of_its_leases", own);
    trials.on("ext4", "state::what_may_have_gone_unheard_recalls", unheard);
    trials.daemon("state::a_truncation_by_who_opens_for_reading_recalls_after_it", truncated);
    trials.daemon("state::what_an_export_does_not_enable_is_refused", off);
    trials.daemon("state::who_may_not_open_a_file_holds_nothing_of_it", not_permitted);
}

fn returned(filesystem: &Filesystem) -> Result<Completion> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Write).await?;
        stage.other.begin(Attempt::Read, &stage.file)?;
        let who = Who::Process(stage.other.pid());
        let recall = Recalled { open, held: LeaseKind::Write, keep: Keep::Read, who };
        ensure!(holder.recalled().await? == recall);
        ensure!(stage.other.waits()?, "the reader did not wait");
        // To read is compatible with a read lease.
        holder.state.give_back(open, LeaseKind::Write, Keep::Read).await?;
        stage.other.finish()?;
        stage.other.begin(Attempt::Append, &stage.file)?;
        ensure!(holder.recalled().await?.held == LeaseKind::Read);
        ensure!(fs::metadata(&stage.file)?.len() == 4, "changed under the lease");
        holder.give_back(open, LeaseKind::Read).await?;
        stage.other.finish()?;
        ensure!(fs::read(&stage.file)? == [b"old\n", APPENDED].concat());
        holder.heard_nothing().await?;
        Ok(Completion::Completed)
    })
}

/// By the description that the client passed: any other open would wait for its own lease.
fn flushed(filesystem: &Filesystem) -> Result<Completion> {
    let stage = Stage::new(filesystem)?;
    let written = File::options().read(true).write(true).open(&stage.file)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let request = OpenRequest::descriptor(written.try_clone()?, 1).access(Access::Both);
        let Grant::Granted(open) = holder.ask_open(request).await? else { bail!("it waits") };
        holder.lease(open, LeaseKind::Write).await?;
        written.write_all_at(b"new\n", 0)?;
        written.write_all_at(b"more\n", 4)?;
        holder.heard_nothing().await?;
        let file = stage.file.clone();
        let reader = std::thread::spawn(move || fs::read(file));
        let recall = holder.recalled().await?;
        // What is open for writing cannot be leased for reading.
        ensure!(recall.keep == Keep::None && recall.who == Who::Process(std::process::id()), "{recall:?}");
        ensure!(!reader.is_finished(), "the reader did not wait");
        written.write_all_at(b"back\n", 4)?;
        holder.give_back(open, LeaseKind::Write).await?;
        let seen = reader.join().map_err(|_| anyhow!("the reader failed"))??;
        ensure!(seen == b"new\nback\n", "{seen:?}");
        // Once the client has closed it, nothing of its description stays.
        holder.state.close(open).await?;
        drop(written);
        holder.hold(&stage.file, 2, LeaseKind::Read).await?;
        Ok(Completion::Completed)
    })
}

fn shared(filesystem: &Filesystem, trick: Trick) -> Result<Completion> {
    // Of its own: it may not outlive this.
    let stage = Stage::with(filesystem, "")?;
    fs::set_permissions(stage.scene.path(), Permissions::from_mode(0o755))?;
    fs::set_permissions(&stage.file, Permissions::from_mode(0o666))?;
    let mut holder = Sharer::start(&stage.daemon, &stage.file, trick)?;
    let file = stage.file.clone();
    let reader = std::thread::spawn(move || fs::read(file));
    holder.recalled()?;
    ensure!(!reader.is_finished(), "the reader did not wait");
    holder.give_back()?;
    let seen = reader.join().map_err(|_| anyhow!("the reader failed"))??;
    ensure!(seen == WRITTEN, "{seen:?}");
    // It is still there.
    stage.daemon.status()?;
    Ok(Completion::Completed)
}

fn written(filesystem: &Filesystem) -> Result<Completion> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        // A reader does not break it.
        stage.other.attempt(Attempt::Read, &stage.file)?.map_err(std::io::Error::from_raw_os_error)?;
        stage.other.begin(Attempt::Truncate, &stage.file)?;
        ensure!(holder.recalled().await?.keep == Keep::None);
        ensure!(stage.other.waits()?, "the writer did not wait");
        holder.give_back(open, LeaseKind::Read).await?;
        stage.other.finish()?;
        Ok(Completion::Completed)
    })
}

fn revoked(filesystem: &Filesystem) -> Result<()> {
    let recall = Duration::from_millis(400);
    let mut stage = Stage::with(filesystem, &format!("recall_ms = {}", recall.as_millis()))?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Write).await?;
        let begun = Instant::now();
        stage.other.begin(Attempt::Append, &stage.file)?;
        holder.recalled().await?;
        ensure!(stage.other.waits()?, "the writer did not wait");
        ensure!(holder.revoked().await? == open);
        stage.other.finish()?;
        ensure!(begun.elapsed() >= recall, "revoked before the deadline");
        // Returning what was revoked is no failure; another one is not to be had for a time.
        holder.give_back(open, LeaseKind::Write).await?;
        ensure!(refused(holder.state.lease(open, LeaseKind::Write).await)? == Code::Backoff);
        Ok(())
    })
}

fn extended(filesystem: &Filesystem) -> Result<()> {
    let recall = Duration::from_millis(400);
    let mut stage = Stage::with(filesystem, &format!("recall_ms = {}", recall.as_millis()))?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        ensure!(refused(holder.state.extend(open).await)? == Code::NotRecalled);
        let begun = Instant::now();
        stage.other.begin(Attempt::Append, &stage.file)?;
        holder.recalled().await?;
        ensure!(holder.state.extend(open).await? > recall);
        ensure!(refused(holder.state.extend(open).await)? == Code::Extended);
        holder.revoked().await?;
        stage.other.finish()?;
        ensure!(begun.elapsed() >= 2 * recall, "revoked before the deadline");
        Ok(())
    })
}

fn beside(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    let renamed = stage.file.with_file_name("renamed");
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        stage.other.attempt(Attempt::Chmod, &stage.file)?.map_err(std::io::Error::from_raw_os_error)?;
        ensure!(holder.recalled().await?.keep == Keep::None);
        holder.give_back(open, LeaseKind::Read).await?;
        holder.lease(open, LeaseKind::Read).await?;
        stage.other.rename(&stage.file, "renamed")?;
        ensure!(holder.recalled().await?.open == open);
        holder.give_back(open, LeaseKind::Read).await?;
        holder.lease(open, LeaseKind::Read).await?;
        stage.other.unlink(&renamed)?;
        ensure!(holder.recalled().await?.open == open);
        Ok(())
    })
}

/// The kernel holds none of it back.
fn set(filesystem: &Filesystem) -> Result<Completion> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        for (kind, attempt) in [
            (LeaseKind::Read, Attempt::SetTimes),
            (LeaseKind::Write, Attempt::SetTimes),
            (LeaseKind::Read, Attempt::SetFlags),
            (LeaseKind::Write, Attempt::Chmod),
        ] {
            let open = holder.hold(&stage.file, 1, kind).await?;
            stage.other.attempt(attempt, &stage.file)?.map_err(std::io::Error::from_raw_os_error)?;
            let recall = holder.recalled().await.with_context(|| format!("{attempt:?} beside {kind}"))?;
            ensure!(recall.open == open && recall.keep == Keep::None, "{recall:?}");
            holder.state.close(open).await?;
        }
        Ok(Completion::Completed)
    })
}

/// Its process is known by the connection.
fn own(filesystem: &Filesystem) -> Result<Completion> {
    let mut stage = Stage::new(filesystem)?;
    // What changed just before it is leased might as well change just after, unseen.
    let locked = stage.scene.file("locked")?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Write).await?;
        let by = |who: &Who, pid| matches!(who, Who::Process(by) if *by == pid) || *who == Who::Unknown;
        for attempt in [Attempt::Chmod, Attempt::SetTimes] {
            attempt.perform(&stage.file)?;
        }
        holder.heard_nothing().await?;
        stage.other.attempt(Attempt::Chmod, &stage.file)?.map_err(std::io::Error::from_raw_os_error)?;
        let recall = holder.recalled().await.context("of chmod")?;
        ensure!(recall.open == open && by(&recall.who, stage.other.pid()), "{recall:?}");
        holder.state.close(open).await?;
        // The daemon locks by a description of its own, beside which the kernel gives it no lease.
        let request = OpenRequest::path(&locked, 2).access(Access::Both).advisory_ok(true);
        let Grant::Granted(open) = holder.ask_open(request).await? else { bail!("it waits") };
        holder.lock(open, 1, LockKind::Write, (0, 1)).await?;
        ensure!(holder.state.lease(open, LeaseKind::Write).await?.advisory, "the kernel holds it");
        Attempt::Append.perform(&locked)?;
        holder.heard_nothing().await?;
        stage.other.attempt(Attempt::Append, &locked)?.map_err(std::io::Error::from_raw_os_error)?;
        let recall = holder.recalled().await.context("of a write")?;
        ensure!(recall.open == open && by(&recall.who, stage.other.pid()), "{recall:?}");
        Ok(Completion::Completed)
    })
}

/// Another daemon attaches to the same functions: what is under way in them is not told of by any.
fn unheard(filesystem: &Filesystem) -> Result<Completion> {
    let stage = Stage::with(filesystem, "")?;
    if stage.daemon.status()?["source"] != "fexit" {
        return Ok(Completion::ignored_with("no trampolines"));
    }
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        let _other = Daemon::start(&[stage.scene.path()], "")?;
        ensure!(holder.recalled().await?.open == open);
        Ok(Completion::Completed)
    })
}

/// The kernel's read leases do not hold it back: it opens for reading.
fn truncated(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::new(filesystem)?;
    block_on(async {
        let mut holder = Holder::begin(&stage.daemon.unix(), "holder").await?;
        let open = holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        let done = stage.other.attempt(Attempt::OpenTruncate, &stage.file)?;
        done.map_err(std::io::Error::from_raw_os_error)?;
        let recall = holder.recalled().await?;
        ensure!(recall.open == open && recall.keep == Keep::None, "{recall:?}");
        Ok(())
    })
}

fn off(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let [locking, leasing, plain] =
        ["outer", "outer/inner", "outer/plain"].map(|name| scene.path().join(name));
    for directory in [&locking, &leasing, &plain] {
        fs::create_dir(directory)?;
        fs::write(directory.join("file"), "")?;
    }
    let exports: [(&Path, &[&str]); 3] = [(&locking, &["locks"]), (&leasing, &["leases"]), (&plain, &[])];
    let daemon = Daemon::start_holding(&exports, "state_grace_ms = 1")?;
    let disabled = |error: Option<Error>, what: &str, export: &Path| {
        let export = export.display();
        let text = format!("set `{what}` to true for the export {export} in the daemon's configuration");
        let error = error.context("it was granted")?;
        let said = matches!(&error, Error::Refused { code: Code::Disabled, message } if *message == text);
        ensure!(said, "{error:?}, not: {text}");
        Ok(())
    };
    block_on(async {
        let holder = Holder::begin(&daemon.unix(), "holder").await?;
        let (open, lock) = (
            holder.open(&locking.join("file"), 1, Access::Read).await?,
            LockRequest::new(1, LockKind::Read, 0, 1),
        );
        holder.state.lock(open, lock).await?;
        disabled(holder.state.lease(open, LeaseKind::Read).await.err(), "leases", &locking)?;
        let denying = holder.try_open(&locking.join("file"), 2, Access::Read, Deny::Write).await;
        disabled(denying.err(), "shares", &locking)?;
        // The innermost export decides.
        let open = holder.open(&leasing.join("file"), 1, Access::Read).await?;
        holder.lease(open, LeaseKind::Read).await?;
        disabled(holder.state.lock(open, lock).await.err(), "locks", &leasing)?;
        let opening = holder.try_open(&plain.join("file"), 1, Access::Read, Deny::None).await;
        disabled(opening.err(), "leases`, `shares` or `locks", &plain)?;
        let off = Daemon::start(&[&plain], "")?;
        ensure!(Holder::begin(&off.unix(), "holder").await.is_err(), "it holds state though all is off");
        Ok(())
    })
}

fn not_permitted(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::new(filesystem)?;
    let secret = stage.scene.file_with("secret", b"", 0o600)?;
    block_on(async {
        // Over TCP, a client is nobody.
        let holder = Holder::begin(&stage.daemon.tcp(), "nobody").await?;
        for (file, access, code) in [
            (&secret, Access::Read, Code::NotPermitted),
            (&stage.file, Access::Both, Code::NotPermitted),
            (&stage.file, Access::Write, Code::NotPermitted),
        ] {
            ensure!(refused(holder.try_open(file, 1, access, Deny::None).await)? == code);
        }
        holder.hold(&stage.file, 1, LeaseKind::Read).await?;
        Ok(())
    })
}
