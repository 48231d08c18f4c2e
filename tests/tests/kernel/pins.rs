//! The directory where maps and programs are pinned: whose it must be, and what becomes of what is in it.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::Path,
};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use tests::{
    Result,
    daemon::Daemon,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    program,
    scene::Scene,
};
use upcall_client::{Watch, change};

use crate::{restart::pinned, trials::Trials};

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("pins_that_are_removed_go_on_until_the_daemon_ends", removed);
    trials.daemon("a_directory_for_pins_that_others_may_write_is_refused", |it| refused(it, open_to_others));
    trials.daemon("a_link_to_a_directory_for_pins_is_refused", |it| refused(it, linked));
    trials.daemon("pins_of_others_stay", foreign);
}

fn removed(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        listener.rest().await?;
        pinned(&daemon.pin()?)?.into_iter().try_for_each(fs::remove_file)?;
        helper.write(&file)?;
        listener.until_told(1, change::DATA).await
    })
}

fn open_to_others(pin: &Path) -> Result<&'static str> {
    fs::create_dir(pin)?;
    fs::set_permissions(pin, Permissions::from_mode(0o755))?;
    Ok("open to others")
}

fn linked(pin: &Path) -> Result<&'static str> {
    let other = pin.with_file_name("other");
    DirBuilder::new().mode(0o700).create(&other)?;
    symlink(other, pin)?;
    Ok("upcall: ")
}

/// Whoever finds the directory as `prepare` leaves it does not start, and says why.
fn refused(filesystem: &Filesystem, prepare: fn(&Path) -> Result<&'static str>) -> Result<()> {
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let pin = daemon.pin()?;
    daemon.signal(Signal::SIGTERM)?;
    ensure!(daemon.ended()?.success(), "it failed: {}", daemon.log());
    let why = prepare(&pin)?;
    let said = program::refusal(["daemon".as_ref(), "--config".as_ref(), daemon.config().as_os_str()])?;
    ensure!(said.contains(why), "{said}");
    ensure!(said.contains(&pin.display().to_string()), "it does not say which directory: {said}");
    Ok(())
}

fn foreign(filesystem: &Filesystem) -> Result<()> {
    let mut daemon = Daemon::start_pinned(&[&filesystem.root], "")?;
    let pin = daemon.pin()?;
    let set = fs::read_dir(&pin)?.next().context("nothing is pinned")??.path();
    daemon.kill()?;
    let config = daemon.config();
    let above = pin.join("theirs");
    for (path, commands) in [(above, &["daemon", "detach"][..]), (set.join("theirs"), &["detach"])] {
        fs::create_dir(&path)?;
        for command in commands {
            let said = program::refusal([command.as_ref(), "--config".as_ref(), config.as_os_str()])?;
            let names = said.contains(&path.display().to_string()) && said.contains("not upcall's");
            ensure!(names, "{command}: {said}");
        }
        fs::remove_dir(&path)?;
    }
    let output = program::output(["detach".as_ref(), "--config".as_ref(), config.as_os_str()])?;
    ensure!(output.status.success() && !pin.exists(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
