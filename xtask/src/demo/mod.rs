//! `cargo xtask demo`: a daemon on a fresh tree, a client over Unix and one over TCP, and real changes made
//! by this process, which is neither. Succeeds only if both clients heard of every change.

mod changes;
mod host;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use changes::{STEPS, Step};
use host::{Host, Watcher};

/// Longest wait for an upcall: a loaded machine, not a slow daemon.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run() -> Result<()> {
    let host = Host::start()?;
    let watched = [host.tree().join(changes::FILE), host.tree().join(changes::DIRECTORY)];
    let mut watchers = [host.watch("unix", &watched)?, host.watch("tcp", &watched)?];
    println!("watching {} and {} over unix and tcp\n", watched[0].display(), watched[1].display());
    let started = Instant::now();
    let mut missed = Vec::new();
    for step in STEPS {
        println!("{}", step.name);
        (step.make)(host.tree())?;
        for watcher in &mut watchers {
            if !hears(watcher, step, &host)? {
                missed.push(format!("{} over {}", step.name, watcher.name()));
            }
        }
        // What is still under way must not be taken for the next step's.
        host.settle(&mut watchers, PATIENCE)?;
    }
    let told: usize = watchers.iter().map(Watcher::received).sum();
    ensure!(missed.is_empty(), "not heard: {}", missed.join(", "));
    let changes = STEPS.len();
    println!(
        "\n{changes} changes, {told} upcalls, every change heard by both clients in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Waits until the upcalls of this step say all that the step did.
fn hears(watcher: &mut Watcher, step: &Step, host: &Host) -> Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let path = host.tree().join(step.heard_at);
    let mut wanted = step.changes.to_vec();
    while !wanted.is_empty() {
        let Some(upcall) = watcher.next(deadline)? else { return Ok(false) };
        if upcall.path == path {
            wanted.retain(|change| !upcall.changes.iter().any(|it| it == change));
        }
    }
    Ok(true)
}
