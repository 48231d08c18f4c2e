//! State held for clients: leases, share reservations and byte-range locks, between clients and against local processes.

mod holder;
mod leases;

use std::{path::PathBuf, time::Duration};

use tests::{Result, daemon::Daemon, filesystem::Filesystem, helper::Helper, scene::Scene};

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    leases::add(trials);
}

/// What clients hold outlives them by this in these tests.
const GRACE: Duration = Duration::from_millis(300);

/// A daemon that holds state, a file, and another process.
struct Stage {
    daemon: Daemon,
    scene: Scene,
    file: PathBuf,
    other: Helper,
}

impl Stage {
    fn new(filesystem: &Filesystem) -> Result<Self> {
        Self::with(filesystem, "")
    }

    fn with(filesystem: &Filesystem, settings: &str) -> Result<Self> {
        let scene = Scene::within(&filesystem.root)?;
        let file = scene.file_with("file", b"old\n", 0o644)?;
        let grace = GRACE.as_millis();
        let settings =
            format!("leases = true\nshares = true\nlocks = true\nstate_grace_ms = {grace}\n{settings}");
        let daemon = Daemon::start(&[scene.path()], &settings)?;
        Ok(Self { daemon, scene, file, other: Helper::start()? })
    }
}
