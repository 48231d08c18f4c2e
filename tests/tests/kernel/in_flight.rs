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
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    let test = |test: fn(Stage) -> Result<()>| {
        move |it: &Filesystem| test(Stage::new(it)?).map(|()| Completion::Completed)
    };
    trials.on("ext4", "a_write_older_than_the_daemon_is_told_at_its_end", test(first_start));
    trials.on("ext4", "a_write_that_outlasts_a_restart_is_told_at_its_end", test(restart));
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
    async fn finish(&mut self, listener: &mut Listener) -> Result<()> {
        listener.quiet().await?;
        self.helper.finish_stuck_write()?;
        listener.until_told(1, change::DATA).await
    }
}

fn first_start(mut stage: Stage) -> Result<()> {
    stage.helper.begin_stuck_write(&stage.file)?;
    let daemon = Daemon::start(&[&stage.root], "")?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&stage.file, 1)]).await?;
        stage.finish(&mut listener).await
    })
}

fn restart(mut stage: Stage) -> Result<()> {
    let mut daemon = Daemon::start_pinned(&[&stage.root], "")?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&stage.file, 1)]).await?;
        listener.rest().await?;
        stage.helper.begin_stuck_write(&stage.file)?;
        daemon.restart()?;
        listener.until("`Reconnected`", |heard| heard.contains(&Notice::Reconnected)).await?;
        let changed = |notice: &Notice| matches!(notice, Notice::Changed { cookie: 1, .. });
        ensure!(listener.heard.iter().any(changed), "it counts as unchanged: {:?}", listener.heard);
        stage.finish(&mut listener).await
    })
}
