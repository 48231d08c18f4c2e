//! > SYNCED comes only after every UPCALL for changes that were complete when the SYNC arrived: those below directories too.

use anyhow::ensure;
use libtest_mimic::Completion;
use tests::{
    deadline::rounds,
    helper::Helper,
    listener::{Listener, block_on, told},
    scene::Scene,
};
use upcall_client::{Notice, Watch, change};

use crate::trials::Trials;

const ROUNDS: u64 = 100;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("sync_is_a_barrier_for_what_lies_below", |filesystem| {
        let scene = Scene::within(&filesystem.root)?;
        scene.dir("sub")?;
        let file = scene.file("sub/file")?;
        let daemon = filesystem.daemon()?;
        let mut helper = Helper::start()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
            listener.watch(vec![Watch::path(scene.path(), 1).subtree()]).await?;
            for round in 0..rounds(ROUNDS) {
                listener.rest().await?;
                helper.write(&file)?;
                listener.sync().await?;
                let mut heard = listener.heard.iter();
                let told = match filesystem.name {
                    // A directory without a handle is not found again: its client has to look itself.
                    "overlayfs" => told(&listener.heard, 1) & change::RESCAN != 0,
                    _ => heard.any(|notice| tells(notice, b"sub/file", change::DATA)),
                };
                ensure!(told, "round {round}: {:?}", listener.heard);
            }
            Ok(Completion::Completed)
        })
    });
}

fn tells(notice: &Notice, path: &[u8], bits: u32) -> bool {
    matches!(notice, Notice::Upcall { mask, child: Some(child), .. } if child.path == path && mask & bits != 0)
}
