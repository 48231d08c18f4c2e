//! Two writes with a read between them, closer to each other than the kernel's clock ticks: the reader is told of
//! the second. To look at the attributes makes the kernel stamp the next write ahead of its coarse clock.

use std::fs;

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{
    deadline::rounds,
    helper::Helper,
    listener::{Listener, block_on},
    scene::Scene,
};
use upcall_client::{Watch, change};

use crate::trials::Trials;

const ROUNDS: u64 = 300;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("a_second_write_is_told", |filesystem| {
        let scene = Scene::within(&filesystem.root)?;
        let file = scene.file("file")?;
        let daemon = filesystem.daemon()?;
        let mut helper = Helper::start()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
            listener.watch(vec![Watch::path(&file, 1)]).await?;
            for round in 0..rounds(ROUNDS) {
                ensure!(fs::metadata(&file)?.is_file());
                helper.write(&file)?;
                listener.rest().await?;
                helper.write(&file)?;
                let told = listener.until_told(1, change::DATA).await;
                told.with_context(|| format!("the second write of round {round}"))?;
            }
            Ok(Completion::Completed)
        })
    });
}
