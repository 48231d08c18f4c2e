//! > A ring made tiny by configuration and 10,000 watched files changed at once: the client hears of all
//! > 10,000, and `status` shows scans happened.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{
    Result,
    daemon::Daemon,
    deadline::rounds,
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on, cookies},
    scene::Scene,
};
use upcall_client::{Notice, Watch};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.above("a_tiny_ring_loses_nothing", tiny_ring);
}

const FILES: u64 = 10_000;
const WRITERS: u64 = 4;

fn tiny_ring(filesystem: &Filesystem) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let count = rounds(FILES);
    let files = scene.many(count)?;
    let daemon = Daemon::start(&[&filesystem.root], "dirty_ring_bytes = 4096\ninterests_per_client = 20000")?;
    let mut writers = (0..WRITERS).map(|_| Helper::start()).collect::<Result<Vec<_>>>()?;
    block_on(async {
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener
            .watch(files.iter().zip(0..).map(|(file, cookie)| Watch::path(file, cookie)).collect())
            .await?;
        listener.rest().await?;
        // The ring is emptied no more, so it must overflow.
        daemon.signal(Signal::SIGSTOP)?;
        let share = count / WRITERS;
        for (writer, number) in writers.iter_mut().zip(0..) {
            writer.begin_touch(scene.path(), number * share, (number + 1) * share)?;
        }
        writers.iter_mut().try_for_each(Helper::finish)?;
        daemon.signal(Signal::SIGCONT)?;
        let mut missing: BTreeSet<u64> = (0..count).collect();
        let mut from = 0;
        let enough = |heard: &[_]| {
            for cookie in cookies(heard.get(from..).unwrap_or_default()) {
                missing.remove(&cookie);
            }
            from = heard.len();
            // Where the kernel skipped a hook, nobody knows of which file: then everything counts as told.
            missing.is_empty() || heard.iter().any(|notice| matches!(notice, Notice::Resync { .. }))
        };
        let heard = listener.until("upcalls for all files", enough).await;
        let status = daemon.status()?;
        heard.with_context(|| format!("{} files were not told: {status}", missing.len()))?;
        let count = |path| status.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        ensure!(count("/hub/scans") > 0, "no scan happened: {status}");
        ensure!(count("/hub/kernel/ring_full") > 0, "the ring was never full: {status}");
        Ok(Completion::Completed)
    })
}
