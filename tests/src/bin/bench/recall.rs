//! From a local process's `open` to the recall in the hands of the client that holds the lease.

use std::{
    fs::File,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use tests::{daemon::Daemon, listener::block_on};
use upcall_client::{
    Access, Client, Grant, Identity, Keep, LeaseKind, Notice, OpenRequest, Options, StateNotice,
};

use crate::{
    arena::{self, Arena},
    report::{Figure, Target},
    scale::Scale,
    stats::Quantile,
};

/// The state of an earlier daemon is waited for that long.
const GRACE: Duration = Duration::from_millis(1);

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let settings = format!("state_grace_ms = {}", GRACE.as_millis());
    let daemon = Daemon::start_holding(&[(&arena.tmpfs, &["leases"])], &settings)?;
    let paths = arena::files(&arena.tmpfs, "recall", 1)?;
    let path = paths.first().context("no file")?;
    thread::sleep(GRACE);
    let took = block_on(sample(&daemon, path, scale.recall_rounds))?;
    for (quantile, target) in [(Quantile::MEDIAN, Target::AtMost(100.0)), (Quantile::P99, Target::None)] {
        if let Some(time) = quantile.of(&took) {
            Figure::alone(format!("open() to RECALL, {}", quantile.name), "us", time, target).print()?;
        }
    }
    Ok(())
}

/// Microseconds of each round.
async fn sample(daemon: &Daemon, path: &Path, rounds: u32) -> Result<Vec<f64>> {
    let (client, mut upcalls) = Client::connect(&daemon.unix(), Options::default()).await?;
    let state = client.begin_state(Identity([1; 16])).await?;
    let mut took = Vec::new();
    for _ in 0..rounds {
        let wanted = OpenRequest::path(path, 1).access(Access::Both);
        let Grant::Granted(opened) = state.open(wanted).await? else { bail!("an open waits") };
        let open = opened.open;
        state.lease(open, LeaseKind::Write).await?;
        let path = path.to_owned();
        let opener = thread::spawn(move || {
            let start = Instant::now();
            File::open(path).map(|_| start)
        });
        let recalled = loop {
            let notice = upcalls.next().await.context("the client has stopped")?;
            if matches!(notice, Notice::State(StateNotice::Recall { .. })) {
                break Instant::now();
            }
        };
        state.give_back(open, LeaseKind::Write, Keep::None).await?;
        let start = opener.join().map_err(|_| anyhow!("the opener failed"))??;
        took.push(recalled.duration_since(start).as_secs_f64() * 1e6);
        state.close(open).await?;
    }
    Ok(took)
}
