//! How the daemon starts, refuses to start, and ends.

use std::fs;

use anyhow::ensure;
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
use upcall_client::{Notice, Options, ResyncReason, Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("refuses_to_run_without_an_export", |_| refused("", "--export"));
    trials.daemon("refuses_an_unknown_setting", |_| refused("exprots = [\"/\"]", "`exports`"));
    trials.daemon("sigterm_tells_clients_and_ends", ends);
    trials.daemon("a_restart_tells_clients_to_resync", restarts);
}

fn refused(config: &str, hint: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("config.toml");
    fs::write(&file, format!("unix = {:?}\n{config}\n", dir.path().join("socket")))?;
    let output = program::output(["daemon".as_ref(), "--config".as_ref(), file.as_os_str()])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it ran");
    ensure!(output.status.code().is_some(), "it did not end by itself: {}", output.status);
    ensure!(error.contains(hint), "this does not name {hint}: {error}");
    Ok(())
}

fn ends(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start(&[&filesystem.root], "drain_ms = 2000")?;
    block_on(async {
        let options = Options { reconnect: false, ..Options::default() };
        let mut listener = Listener::connect_with(&daemon.unix(), options).await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        daemon.signal(Signal::SIGTERM)?;
        let shutdown =
            |notice: &Notice| matches!(notice, Notice::Resync { reason: ResyncReason::Shutdown, .. });
        listener.until("RESYNC", |heard| heard.iter().any(shutdown)).await
    })?;
    let status = daemon.ended()?;
    ensure!(status.success(), "it ended with {status}:\n{}", daemon.log());
    ensure!(!daemon.socket().exists(), "its socket is still there");
    Ok(())
}

fn restarts(filesystem: &Filesystem) -> Result<()> {
    let scene = Scene::within(&filesystem.root)?;
    let file = scene.file("file")?;
    let mut daemon = Daemon::start(&[&filesystem.root], "")?;
    let mut helper = Helper::start()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        daemon.restart()?;
        listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
        let doubt = |notice: &Notice| matches!(notice, Notice::Resync { .. });
        ensure!(listener.heard.iter().any(doubt), "no `Resync` before `Reconnected`: {:?}", listener.heard);
        listener.rest().await?;
        helper.write(&file)?;
        listener.until_told(1, change::DATA).await
    })
}
