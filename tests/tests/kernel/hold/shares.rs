//! > In the VM with the `bpf` LSM: a deny-write reservation makes a local open for writing fail with the documented
//! > errno, root included, and stops doing so on release, and on daemon death.

use std::{
    fs::{File, OpenOptions},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    attempt::Attempt::{Append, HandleAppend, OpenTruncate, Read, Truncate, UringAppend},
    filesystem::Filesystem,
    helper::Helper,
    scene::Scene,
};
use upcall_user::hold::{Access, Deny, Opener, Search, find_opener};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    for name in super::TOLD {
        trials.on(name, "hold::what_is_denied_cannot_be_opened_until_it_is_released", denied);
    }
    trials.on_each("hold::openers_from_before_are_found", found);
}

const NONE: Deny = Deny { read: false, write: false };

fn denied(filesystem: &Filesystem) -> Result<Completion> {
    let mut shares = match super::programs()?.shares() {
        Ok(shares) => shares,
        Err(why) => return Ok(Completion::ignored_with(why.to_string())),
    };
    let scene = Scene::within(&filesystem.root)?;
    let (file, other) = (scene.file("file")?, scene.file("other")?);
    let mut helper = Helper::start()?;
    let mut errno =
        |attempt, file: &Path| -> Result<Option<i32>> { Ok(helper.attempt(attempt, file)?.err()) };
    ensure!(errno(Append, &file)?.is_none());
    shares.deny(super::key(&file)?, Deny { read: false, write: true })?;
    for writes in [Append, Truncate, OpenTruncate, UringAppend, HandleAppend] {
        ensure!(errno(writes, &file)? == Some(libc::EBUSY), "{writes:?} is not denied");
    }
    ensure!(errno(Read, &file)?.is_none());
    ensure!(errno(Append, &other)?.is_none(), "another file is denied as well");
    // This process is the daemon here.
    OpenOptions::new().append(true).open(&file)?;
    shares.deny(super::key(&file)?, Deny { read: true, write: false })?;
    ensure!(errno(Read, &file)? == Some(libc::EBUSY) && errno(Truncate, &file)?.is_none());
    shares.deny(super::key(&other)?, Deny { read: true, write: true })?;
    shares.allow(super::key(&file)?)?;
    ensure!(errno(Append, &file)?.is_none() && errno(Append, &other)? == Some(libc::EBUSY));
    shares.deny(super::key(&other)?, NONE)?;
    shares.allow(super::key(&other)?)?;
    ensure!(errno(Append, &other)?.is_none());
    shares.deny(super::key(&file)?, Deny { read: true, write: true })?;
    ensure!(errno(Append, &file)? == Some(libc::EBUSY));
    // As when the daemon dies: all that it holds is closed.
    drop(shares);
    ensure!(errno(Append, &file)?.is_none() && errno(Read, &file)?.is_none());
    Ok(Completion::Completed)
}

fn found(filesystem: &Filesystem) -> Result<Completion> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut helper = Helper::start()?;
    let named = File::open(&file)?;
    let search = || find_opener(named.as_fd(), |_| true, PATIENCE);
    ensure!(search()? == Search::Nobody);
    helper.hold(&file)?;
    ensure!(search()? == Search::Found(Opener { pid: helper.pid(), access: Access::Both }));
    helper.release().context("closing it")?;
    ensure!(search()? == Search::Nobody);
    Ok(Completion::Completed)
}
