//! Register, then read: a cache that follows PROTOCOL.md never misses a change, not even one that happens while
//! the interest is made.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    deadline::rounds,
    helper::Helper,
    listener::{Listener, block_on},
    scene::Scene,
};
use upcall_client::Watch;

use crate::trials::Trials;

const FILES: u64 = 300;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("register_then_read_misses_nothing", |filesystem| {
        let scene = Scene::within(&filesystem.root)?;
        let daemon = filesystem.daemon()?;
        let mut writer = Helper::start()?;
        block_on(async {
            let mut listener = Listener::connect(&daemon.unix(), "cache").await?;
            for cookie in 0..rounds(FILES) {
                let file = scene.file_with(&cookie.to_string(), &[0; 8], 0o644)?;
                // Of different lengths, so that the end falls before, into and after the registration.
                let count = 1 + cookie * cookie * 7 % 2000;
                writer.begin_count(&file, count)?;
                let interest = listener.watch(vec![Watch::path(&file, cookie)]).await?;
                let mut cache = number(&file)?;
                let mut finish = tokio::task::spawn_blocking(move || writer.finish().map(|()| writer));
                writer = loop {
                    tokio::select! {
                        biased;
                        notice = listener.next("an upcall") => cache = notice.and_then(|_| number(&file))?,
                        writer = &mut finish => break writer??,
                    }
                };
                listener.heard.clear();
                listener.sync().await?;
                if !listener.heard.is_empty() {
                    cache = number(&file)?;
                }
                listener.heard.clear();
                ensure!(cache == count, "file {cookie}: the cache has {cache}, the file {count}");
                let ids = interest.iter().map(|made| made.interest).collect();
                let client = listener.client.clone();
                listener.listening(client.unregister(ids)).await??;
                listener.quiet().await?;
            }
            Ok(Completion::Completed)
        })
    });
}

fn number(file: &Path) -> Result<u64> {
    let contents = fs::read(file)?;
    Ok(u64::from_le_bytes(*contents.first_chunk().context("the file is too short")?))
}
