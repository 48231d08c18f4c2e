//! How fast interests are made, all with cold caches: as somebody finds them who has just started.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context, Result};
use tests::daemon::Daemon;
use tokio::runtime::Builder;
use upcall_client::{Client, Options, Watch};

use crate::{
    arena::{self, Arena},
    library::{self, Library},
    memory::drop_caches,
    peers::{allow, watch_all},
    report::{Figure, Target},
    scale::Scale,
};

/// Requests of one interest each.
const SINGLE: usize = 2000;
const PEER: &str = "inotify_add_watch";

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let paths = arena::empty(&arena.ext4, "registration", scale.registrations)?;
    let _allowed = allow(paths.len())?;
    let anchor = paths.first().context("no files")?;
    let handles = paths.iter().map(|path| Ok(tests::file_handle(path)?)).collect::<Result<Vec<_>>>()?;
    let by_handle = || {
        let handles = handles.iter().zip(0..);
        handles.map(|((kind, bytes), cookie)| Watch::handle(anchor, *kind, &**bytes, cookie)).collect()
    };
    let (mut peer, mut path, mut handle, mut single) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.registration_rounds {
        drop_caches()?;
        let start = Instant::now();
        let watches = watch_all(&paths)?;
        peer.push(paths.len() as f64 / start.elapsed().as_secs_f64());
        drop(watches);
        path.push(batches(arena, library::watches(&paths))?);
        handle.push(batches(arena, by_handle())?);
        single.push(one_by_one(arena, paths.get(..SINGLE).unwrap_or(&paths))?);
    }
    for (name, ours, target) in [
        ("registration by path, in batches", path, Target::RatioAtLeast(1.0)),
        ("registration by handle, in batches", handle, Target::RatioAtLeast(1.0)),
        ("registration by path, one by one", single, Target::None),
    ] {
        Figure::paired(name, "/s", &ours, (PEER, &peer), target).print()?;
    }
    Ok(())
}

fn batches(arena: &Arena, watches: Vec<Watch>) -> Result<f64> {
    let daemon = Daemon::start(&arena.exports(), &format!("slots = {}", watches.len() + 1))?;
    let count = watches.len();
    drop_caches()?;
    let client = Library::start(&daemon.unix(), watches, |_, _| ())?;
    Ok(count as f64 / client.took.as_secs_f64())
}

fn one_by_one(arena: &Arena, paths: &[PathBuf]) -> Result<f64> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    drop_caches()?;
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, _upcalls) = Client::connect(&daemon.unix(), Options::default()).await?;
        let start = Instant::now();
        for watch in library::watches(paths) {
            for outcome in client.register(vec![watch]).await? {
                outcome?;
            }
        }
        Ok(paths.len() as f64 / start.elapsed().as_secs_f64())
    })
}
