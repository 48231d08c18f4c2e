//! A write that is under way while BPF programs come and go: the kernel may skip those at its end.

use std::path::PathBuf;

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    Result,
    daemon::Daemon,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    program,
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    let test = |test: fn(Stage) -> Result<Completion>| move |it: &Filesystem| test(Stage::new(it)?);
    trials.on("ext4", "a_write_older_than_the_daemon_is_told_at_its_end", test(first_start));
    trials.on("ext4", "a_write_that_outlasts_a_restart_is_told_at_its_end", test(restart));
    trials.on("ext4", "a_write_that_outlasts_a_change_of_its_hooks_is_told_at_its_end", test(foreign));
    trials.on("ext4", "a_write_during_a_survey_is_told_and_nobody_resyncs", test(survey));
}

/// A file and somebody who can get stuck writing it.
struct Stage {
    root: PathBuf,
    file: PathBuf,
    helper: Helper,
    _scene: Scene,
}

impl Stage {
    fn new(filesystem: &Filesystem) -> Result<Self> {
        let scene = Scene::within(&filesystem.root)?;
        let file = scene.file("file")?;
        Ok(Self { root: filesystem.root.clone(), file, helper: Helper::start()?, _scene: scene })
    }

    /// Nothing but the end of the write can be told from here on.
    async fn finish(&mut self, listener: &mut Listener) -> Result<Completion> {
        listener.quiet().await?;
        self.helper.finish_stuck_write()?;
        listener.until_told(1, change::DATA).await?;
        Ok(Completion::Completed)
    }

    /// A client that watches the file while the write is stuck.
    async fn watched(&mut self, daemon: &Daemon) -> Result<Listener> {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&self.file, 1)]).await?;
        listener.rest().await?;
        self.helper.begin_stuck_write(&self.file)?;
        Ok(listener)
    }
}

fn first_start(mut stage: Stage) -> Result<Completion> {
    stage.helper.begin_stuck_write(&stage.file)?;
    let daemon = Daemon::start(&[&stage.root], "")?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&stage.file, 1)]).await?;
        stage.finish(&mut listener).await
    })
}

fn restart(mut stage: Stage) -> Result<Completion> {
    let mut daemon = Daemon::start_pinned(&[&stage.root], "")?;
    block_on(async {
        let mut listener = stage.watched(&daemon).await?;
        daemon.restart()?;
        listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
        let changed = |notice: &Notice| matches!(notice, Notice::Changed { cookie: 1, .. });
        ensure!(listener.heard.iter().any(changed), "it counts as unchanged: {:?}", listener.heard);
        stage.finish(&mut listener).await
    })
}

/// Another daemon attaches to the same functions.
fn foreign(mut stage: Stage) -> Result<Completion> {
    let daemon = Daemon::start(&[&stage.root], "")?;
    if daemon.status()?["source"] != "fexit" {
        return Ok(Completion::ignored_with("no trampolines"));
    }
    block_on(async {
        let mut listener = stage.watched(&daemon).await?;
        let _other = Daemon::start(&[&stage.root], "")?;
        listener.until("RESYNC", |heard| heard.iter().any(is_resync)).await?;
        stage.finish(&mut listener).await
    })
}

fn survey(mut stage: Stage) -> Result<Completion> {
    let daemon = Daemon::start(&[&stage.root], "")?;
    block_on(async {
        let mut listener = stage.watched(&daemon).await?;
        program::json_lines(["doctor", "--json"])?;
        listener.sync().await?;
        ensure!(!listener.heard.iter().any(is_resync), "it told {:?}", listener.heard);
        stage.finish(&mut listener).await
    })
}

fn is_resync(notice: &Notice) -> bool {
    matches!(notice, Notice::Resync { .. })
}
