//! Many leases at once.

use std::path::PathBuf;

use ::tests::{daemon::Daemon, listener::runtime};
use anyhow::{Error, Result, ensure};
use tokio::runtime::Runtime;

use crate::{
    arena::Arena,
    holder::{self, Holder},
};

/// More would show that something else is wrong.
const MOST_DAEMONS: usize = 100;

/// Held until dropped, by as many daemons as it takes: each may have only so many files open.
pub(super) struct Leased {
    held: Vec<(Daemon, Holder)>,
    /// The clients' connections live in it.
    runtime: Runtime,
}

impl Leased {
    pub(super) fn take(arena: &Arena, paths: &[PathBuf]) -> Result<Self> {
        let mut leased = Self { held: Vec::new(), runtime: runtime()? };
        let mut rest = paths;
        while !rest.is_empty() {
            ensure!(leased.held.len() < MOST_DAEMONS, "{MOST_DAEMONS} daemons do not grant so many leases");
            let daemon = holder::daemon(&arena.tmpfs)?;
            let (holder, count) = leased.runtime.block_on(as_many_as_granted(&daemon, rest))?;
            leased.held.push((daemon, holder));
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(leased)
    }

    pub(super) fn daemons(&self) -> usize {
        self.held.len()
    }
}

async fn as_many_as_granted(daemon: &Daemon, paths: &[PathBuf]) -> Result<(Holder, usize)> {
    let holder = Holder::connect(daemon).await?;
    for (count, path) in paths.iter().enumerate() {
        match holder.lease(path).await {
            Ok(_) => {}
            Err(error) if count > 0 && is_refusal(&error) => return Ok((holder, count)),
            Err(error) => return Err(error),
        }
    }
    Ok((holder, paths.len()))
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(upcall_client::Error::Refused { .. }))
}
