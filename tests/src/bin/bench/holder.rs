//! A client that holds leases in a daemon.

use std::{path::Path, time::Duration};

use anyhow::{Result, bail};
use tests::daemon::Daemon;
use upcall_client::{Access, Client, Grant, Identity, LeaseKind, OpenRequest, Options, StateClient, Upcalls};

/// The state of an earlier daemon is waited for that long.
const GRACE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Holder {
    pub state: StateClient,
    pub upcalls: Upcalls,
}

/// A daemon of which leases can be had on a filesystem.
pub fn daemon(root: &Path) -> Result<Daemon> {
    Daemon::start_holding(&[(root, &["leases"])], &format!("state_grace_ms = {}", GRACE.as_millis()))
}

impl Holder {
    pub async fn connect(daemon: &Daemon) -> Result<Self> {
        let (client, upcalls) = Client::connect(&daemon.unix(), Options::default()).await?;
        let state = client.begin_state(Identity([1; 16])).await?;
        // Before, only what was held already is granted.
        tokio::time::sleep(state.begun().reclaim).await;
        Ok(Self { state, upcalls })
    }

    /// Opens a file and takes a WRITE lease of it; returns the open.
    pub async fn lease(&self, path: &Path) -> Result<u64> {
        let wanted = OpenRequest::path(path, 1).access(Access::Both);
        let Grant::Granted(opened) = self.state.open(wanted).await? else { bail!("an open waits") };
        if self.state.lease(opened.open, LeaseKind::Write).await?.advisory {
            bail!("the kernel does not hold the lease");
        }
        Ok(opened.open)
    }
}
