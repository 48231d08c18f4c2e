//! > Local processes are held by the kernel: the opener blocks meanwhile, or gets EWOULDBLOCK if it asked for
//! > O_NONBLOCK. Overflow of the ring of breaks handled.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    attempt::{APPENDED, Attempt},
    deadline::patience,
    filesystem::Filesystem,
    helper::Helper,
    listener::block_on,
    scene::Scene,
};
use tokio::time::timeout;
use upcall_user::{
    hold::{Break, LeaseKey, LeaseKind, Leases, PATROL, ROOM, Refusal, Sort, share},
    sys::lease::{self, Level},
};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    for name in super::TOLD {
        trials.on(name, "hold::a_local_open_waits_until_the_lease_is_given_up", waits);
        trials.on(name, "hold::a_reader_goes_on_when_a_write_lease_is_downgraded", downgraded);
        trials.on(name, "hold::an_open_that_may_not_wait_is_refused_and_breaks_the_lease", refused_at_once);
        trials.on(name, "hold::a_lease_is_refused_beside_an_opener_and_says_why", beside);
        trials.on(name, "hold::a_thousand_leases_broken_at_once_are_all_told", many);
        trials.on(name, "hold::what_the_ring_has_no_room_for_is_told", overflow);
        trials.on(name, "hold::a_lease_that_who_shares_it_gives_up_is_told", given_up);
        trials.on(name, "hold::a_delegation_holds_new_entries", |fs| delegated(fs, Attempt::Mkdir));
        trials.on(name, "hold::a_delegation_holds_changes_of_attributes", |fs| delegated(fs, Attempt::Chmod));
        trials.on(name, "hold::a_delegation_holds_removal", |fs| delegated(fs, Attempt::Unlink));
    }
}

fn hear() -> Result<Leases> {
    Ok(Leases::new(super::programs()?.breaks()?)?)
}

fn take(leases: &mut Leases, file: &Path, kind: LeaseKind) -> Result<Option<LeaseKey>> {
    // By `O_PATH`, which is no opener.
    let named = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(file)?;
    match leases.take(named.as_fd(), super::key(file)?, Sort::Lease, kind) {
        Ok(key) => Ok(Some(key)),
        Err(Refusal::Unsupported) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn broken(leases: &mut Leases) -> Result<Break> {
    timeout(patience(), next(leases)).await.context("no break was told")?
}

async fn next(leases: &mut Leases) -> Result<Break> {
    loop {
        if let Some(broken) = leases.broken().await? {
            return Ok(broken);
        }
    }
}

/// What must not come. No event says that it does not, hence the wait.
async fn nothing(leases: &mut Leases) -> Result<()> {
    match timeout(Duration::from_millis(50), next(leases)).await {
        Ok(more) => bail!("told {:?}", more?),
        Err(_) => Ok(()),
    }
}

fn at_once(file: &Path, writes: bool) -> std::io::Result<File> {
    OpenOptions::new().read(!writes).write(writes).custom_flags(libc::O_NONBLOCK).open(file)
}

fn waits(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file_with("file", b"old\n", 0o644)?;
    block_on(async {
        let mut leases = hear()?;
        let Some(lease) = take(&mut leases, &file, LeaseKind::Read)? else {
            return Ok(Completion::ignored_with("the filesystem has no leases"));
        };
        // A reader does not break it.
        drop(at_once(&file, false)?);
        let mut writer = Helper::start()?;
        writer.begin(Attempt::Append, &file)?;
        ensure!(broken(&mut leases).await? == Break { lease, keep: None, by: Some(writer.pid()) });
        nothing(&mut leases).await?;
        ensure!(writer.waits()?, "the writer did not wait");
        ensure!(std::fs::read(&file)? == b"old\n", "changed under the lease");
        ensure!(matches!(leases.change(lease, LeaseKind::Read), Err(Refusal::Broken)));
        leases.release(lease);
        writer.finish()?;
        ensure!(std::fs::read(&file)? == [b"old\n", APPENDED].concat());
        ensure!(leases.is_empty());
        leases.release(lease);
        Ok(Completion::Completed)
    })
}

fn downgraded(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    block_on(async {
        let mut leases = hear()?;
        let Some(lease) = take(&mut leases, &file, LeaseKind::Write)? else {
            return Ok(Completion::ignored_with("the filesystem has no leases"));
        };
        let mut helper = Helper::start()?;
        helper.begin(Attempt::Read, &file)?;
        ensure!(
            broken(&mut leases).await?
                == Break { lease, keep: Some(LeaseKind::Read), by: Some(helper.pid()) }
        );
        ensure!(helper.waits()?, "the reader did not wait");
        ensure!(matches!(leases.change(lease, LeaseKind::Write), Err(Refusal::Broken)));
        leases.change(lease, LeaseKind::Read)?;
        helper.finish()?;
        // It still is a lease.
        helper.begin(Attempt::Truncate, &file)?;
        ensure!(broken(&mut leases).await? == Break { lease, keep: None, by: Some(helper.pid()) });
        ensure!(helper.waits()?, "truncated under the lease");
        leases.release(lease);
        helper.finish()?;
        // Up again, once nobody else has it open.
        let again = take(&mut leases, &file, LeaseKind::Read)?.context("leased before")?;
        leases.change(again, LeaseKind::Write)?;
        ensure!(at_once(&file, false).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        ensure!(broken(&mut leases).await?.lease == again);
        Ok(Completion::Completed)
    })
}

fn refused_at_once(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    block_on(async {
        let mut leases = hear()?;
        let Some(lease) = take(&mut leases, &file, LeaseKind::Write)? else {
            return Ok(Completion::ignored_with("the filesystem has no leases"));
        };
        for (writes, keep) in [(false, Some(LeaseKind::Read)), (true, None)] {
            let refused = at_once(&file, writes).map_err(|error| error.kind());
            ensure!(refused.err() == Some(ErrorKind::WouldBlock));
            ensure!(broken(&mut leases).await? == Break { lease, keep, by: Some(std::process::id()) });
            // It is told already.
            ensure!(at_once(&file, writes).is_err());
            nothing(&mut leases).await?;
        }
        leases.release(lease);
        drop(at_once(&file, true)?);
        Ok(Completion::Completed)
    })
}

fn beside(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let (file, pipe) = (scene.file("file")?, scene.path().join("pipe"));
    let key = super::key(&file)?;
    block_on(async {
        let mut leases = hear()?;
        if take(&mut leases, &file, LeaseKind::Read)?.is_none() {
            return Ok(Completion::ignored_with("the filesystem has no leases"));
        }
        leases = hear()?;
        let mut open = |opened: &File, kind| leases.take(opened.as_fd(), key, Sort::Lease, kind);
        let reader = File::open(&file)?;
        ensure!(matches!(open(&reader, LeaseKind::Write), Err(Refusal::Open)));
        open(&reader, LeaseKind::Read)?;
        leases = hear()?;
        let mut open = |opened: &File, kind| leases.take(opened.as_fd(), key, Sort::Lease, kind);
        let writer = OpenOptions::new().append(true).open(&file)?;
        ensure!(matches!(open(&writer, LeaseKind::Read), Err(Refusal::Open)));
        drop((reader, writer));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
        let pipe = at_once(&pipe, false)?;
        ensure!(matches!(open(&pipe, LeaseKind::Read), Err(Refusal::Unsupported)));
        Ok(Completion::Completed)
    })
}

fn many(filesystem: &Filesystem) -> Result<Completion> {
    const FILES: u64 = 1000;
    let scene = Scene::within(&filesystem.root)?;
    let files: Vec<PathBuf> = scene.many(FILES)?;
    block_on(async {
        let mut leases = hear()?;
        let mut unbroken = HashSet::new();
        for file in &files {
            let Some(lease) = take(&mut leases, file, LeaseKind::Read)? else {
                return Ok(Completion::ignored_with("the filesystem has no leases"));
            };
            unbroken.insert(lease);
        }
        for half in files.chunks(files.len() / 2) {
            for file in half {
                ensure!(at_once(file, true).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
            }
            for _ in half {
                let Break { lease, keep, .. } = broken(&mut leases).await?;
                ensure!(keep.is_none());
                ensure!(unbroken.remove(&lease), "told twice");
            }
            nothing(&mut leases).await?;
        }
        ensure!(unbroken.is_empty());
        Ok(Completion::Completed)
    })
}

fn overflow(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let [noisy, file] = [scene.file("noisy")?, scene.file("file")?];
    block_on(async {
        let mut leases = hear()?;
        let Some(lease) = take(&mut leases, &file, LeaseKind::Read)? else {
            return Ok(Completion::ignored_with("the filesystem has no leases"));
        };
        let noise = take(&mut leases, &noisy, LeaseKind::Read)?.context("leased before")?;
        // Nobody reads meanwhile.
        for _ in 0..=ROOM {
            ensure!(at_once(&noisy, true).is_err());
        }
        ensure!(at_once(&file, true).is_err());
        ensure!(File::open(&file).is_ok());
        let telling = async {
            [next(&mut leases).await.map(|it| it.lease), next(&mut leases).await.map(|it| it.lease)]
        };
        // Before all are looked at anyway.
        let [first, second] = timeout(PATROL / 2, telling).await.context("not told")?;
        ensure!(HashSet::from([first?, second?]) == HashSet::from([lease, noise]));
        Ok(Completion::Completed)
    })
}

fn given_up(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    block_on(async {
        let mut leases = hear()?;
        let ours = OpenOptions::new().read(true).write(true).open(&file)?;
        let shared = match share(ours.try_clone()?.into()) {
            Ok(shared) => shared,
            Err(Refusal::Unsupported) => return Ok(Completion::ignored_with("the filesystem has no leases")),
            Err(error) => return Err(error.into()),
        };
        let lease = leases.adopt(shared, super::key(&file)?);
        nothing(&mut leases).await?;
        lease::set(ours.as_fd(), Sort::Lease, Level::None)?;
        let told = timeout(PATROL + patience(), next(&mut leases)).await.context("not told")??;
        ensure!(told == Break { lease, keep: None, by: None });
        leases.release(lease);
        // Released unused, nothing stays of it either.
        drop(share(ours.try_clone()?.into())?);
        ensure!(lease::get(ours.as_fd(), Sort::Lease)? == Level::None);
        Ok(Completion::Completed)
    })
}

/// Nothing of this breaks a lease.
fn delegated(filesystem: &Filesystem, attempt: Attempt) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let path = if matches!(attempt, Attempt::Mkdir) { scene.dir("dir")? } else { scene.file("file")? };
    block_on(async {
        let mut leases = hear()?;
        let mut helper = Helper::start()?;
        let lease = match leases.take(
            File::open(&path)?.as_fd(),
            super::key(&path)?,
            Sort::Delegation,
            LeaseKind::Read,
        ) {
            Ok(lease) => lease,
            Err(Refusal::Unsupported) => return Ok(Completion::ignored_with("no delegations here")),
            Err(error) => return Err(error.into()),
        };
        helper.begin(attempt, &path)?;
        ensure!(broken(&mut leases).await? == Break { lease, keep: None, by: Some(helper.pid()) });
        ensure!(helper.waits()?, "it did not wait");
        leases.release(lease);
        helper.finish()?;
        Ok(Completion::Completed)
    })
}
