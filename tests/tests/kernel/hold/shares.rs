//! > In the VM with the `bpf` LSM: a deny-write reservation makes a local open for writing fail with the documented
//! > errno, root included, and stops doing so on release, and on daemon death.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{Result, filesystem::Filesystem, helper::Helper, scene::Scene};
use upcall_user::hold::{Access, Deny, Opener, Search, Shares, openers};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    // Where the key can be told from the outside.
    for name in ["ext4", "xfs", "tmpfs"] {
        trials.on(name, "what_is_denied_cannot_be_opened_until_it_is_released", denied);
    }
    trials.on_each("openers_from_before_are_found", found);
}

const NONE: Deny = Deny { read: false, write: false };

fn denied(filesystem: &Filesystem) -> Result<Completion> {
    let mut shares = match Shares::load(16) {
        Ok(shares) => shares,
        Err(why) => return Ok(Completion::ignored_with(why.to_string())),
    };
    let scene = Scene::within(&filesystem.root)?;
    let (file, other) = (scene.file("file")?, scene.file("other")?);
    let mut helper = Helper::start()?;
    // The helper opens for reading and writing; `cat` reads.
    let mut both = |file: &Path| -> Result<Option<i32>> {
        let errno =
            helper.hold(file).err().and_then(|error| error.downcast::<io::Error>().ok()?.raw_os_error());
        helper.release()?;
        Ok(errno)
    };
    let reads = |file: &Path| -> Result<bool> {
        Ok(std::process::Command::new("cat").arg(file).output()?.status.success())
    };
    let truncates = |file: &Path| -> Result<bool> {
        let output = std::process::Command::new("truncate").args(["-c", "-s", "5"]).arg(file).output()?;
        Ok(output.status.success())
    };
    ensure!(both(&file)?.is_none());
    shares.deny(super::key(&file)?, Deny { read: false, write: true })?;
    ensure!(both(&file)? == Some(libc::EBUSY));
    ensure!(!truncates(&file)? && reads(&file)?);
    ensure!(both(&other)?.is_none(), "another file is denied as well");
    // This process is the daemon here.
    OpenOptions::new().append(true).open(&file)?;
    shares.deny(super::key(&file)?, Deny { read: true, write: false })?;
    ensure!(!reads(&file)? && truncates(&file)?);
    shares.deny(super::key(&other)?, Deny { read: true, write: true })?;
    shares.allow(super::key(&file)?)?;
    ensure!(both(&file)?.is_none() && both(&other)? == Some(libc::EBUSY));
    shares.deny(super::key(&other)?, NONE)?;
    shares.allow(super::key(&other)?)?;
    ensure!(both(&other)?.is_none());
    shares.deny(super::key(&file)?, Deny { read: true, write: true })?;
    ensure!(both(&file)? == Some(libc::EBUSY));
    // As when the daemon dies: all that it holds is closed.
    drop(shares);
    ensure!(both(&file)?.is_none() && reads(&file)?);
    Ok(Completion::Completed)
}

fn found(filesystem: &Filesystem) -> Result<Completion> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut helper = Helper::start()?;
    let named = File::open(&file)?;
    ensure!(openers(named.as_fd(), 9, PATIENCE)? == Search::default());
    helper.hold(&file)?;
    let expected = vec![Opener { pid: helper.pid(), access: Access::Both }];
    ensure!(openers(named.as_fd(), 9, PATIENCE)?.openers == expected);
    helper.release().context("closing it")?;
    ensure!(openers(named.as_fd(), 9, PATIENCE)? == Search::default());
    Ok(Completion::Completed)
}
