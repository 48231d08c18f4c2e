//! > SYNCED comes only after every UPCALL for changes that were complete when the SYNC arrived.

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    deadline::rounds,
    helper::Helper,
    listener::{Listener, block_on, told},
    scene::Scene,
};
use upcall_client::{Watch, change};

use crate::trials::Trials;

const ROUNDS: u64 = 200;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("sync_is_a_barrier", |filesystem| {
        let scene = Scene::within(&filesystem.root)?;
        let file = scene.file("file")?;
        let daemon = filesystem.daemon()?;
        let mut helper = Helper::start()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
            listener.watch(vec![Watch::path(&file, 1)]).await?;
            for round in 0..rounds(ROUNDS) {
                listener.rest().await?;
                helper.write(&file)?;
                listener.sync().await?;
                let told = told(&listener.heard, 1);
                ensure!(told & change::DATA != 0, "round {round}: told {told:#x} before SYNCED");
            }
            Ok(Completion::Completed)
        })
    });
}
