//! State held for clients: leases, share reservations and byte-range locks, between clients and against local processes.

mod clients;
mod holder;
mod leases;
mod locks;
pub(crate) mod random;
mod reclaims;
mod shares;
mod shown;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use serde_json::Value;

use tests::{
    Result,
    daemon::Daemon,
    deadline::{LOOK, patience},
    filesystem::Filesystem,
    helper::Helper,
    program,
    scene::Scene,
};

use tokio::time::{sleep, timeout};

use crate::trials::Trials;

use self::holder::Holder;

pub(crate) fn add(trials: &mut Trials<'_>) {
    leases::add(trials);
    clients::add(trials);
    reclaims::add(trials);
    locks::add(trials);
    shares::add(trials);
    shown::add(trials);
    random::add(trials);
}

/// What clients hold outlives them by this in these tests.
const GRACE: Duration = Duration::from_millis(300);

/// A daemon that holds state, a file, and another process.
struct Stage {
    daemon: Arc<Daemon>,
    scene: Scene,
    file: PathBuf,
    other: Helper,
}

impl Stage {
    /// With the daemon that all such stages share.
    fn new(filesystem: &Filesystem) -> Result<Self> {
        let daemon = filesystem.holding(|roots| start(roots, ""))?;
        Self::at(daemon, Scene::within(&filesystem.root)?)
    }

    /// With a daemon of its own.
    fn with(filesystem: &Filesystem, settings: &str) -> Result<Self> {
        let scene = Scene::within(&filesystem.root)?;
        Self::at(Arc::new(start(&[scene.path()], settings)?), scene)
    }

    fn at(daemon: Arc<Daemon>, scene: Scene) -> Result<Self> {
        let file = scene.file_with("file", b"old\n", 0o644)?;
        Ok(Self { daemon, scene, file, other: Helper::start()? })
    }

    /// The daemon, which nobody else uses.
    fn own(&mut self) -> Result<&mut Daemon> {
        Arc::get_mut(&mut self.daemon).context("others use this daemon as well")
    }

    /// Two clients, `a` and `b`.
    async fn two(&self) -> Result<(Holder, Holder)> {
        let address = self.daemon.unix();
        Ok((Holder::begin(&address, "a").await?, Holder::begin(&address, "b").await?))
    }

    /// Waits until the daemon holds nothing for anybody.
    async fn nothing_left(&self) -> Result<()> {
        let connect = self.daemon.unix().to_string();
        until("all that was held to end", || {
            let mut lines = program::json_lines(["status", "--state", "--json", "--connect", &connect])?;
            let shown = lines.pop().context("`upcall status --state` printed nothing")?;
            let now = shown.get("now").and_then(Value::as_object).context("it shows no totals")?;
            // What may stay for a time: a client that may have no lease.
            let held = ["opens", "leases", "recalls", "locks", "waiting"];
            Ok(held.iter().all(|held| now.get(*held).and_then(Value::as_u64) == Some(0)))
        })
        .await
    }
}

fn start(exports: &[&Path], settings: &str) -> Result<Daemon> {
    let grace = GRACE.as_millis();
    let settings = format!("state_grace_ms = {grace}\n{settings}");
    let exports: Vec<(_, &[_])> =
        exports.iter().map(|path| (*path, &["leases", "shares", "locks"][..])).collect();
    Daemon::start_holding(&exports, &settings)
}

/// Looks until it is so; clients go on meanwhile.
async fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let looking = async {
        while !is_so()? {
            sleep(LOOK).await;
        }
        Ok(())
    };
    timeout(patience(), looking).await.with_context(|| format!("waited in vain for {what}"))?
}
