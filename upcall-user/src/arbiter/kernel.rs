//! What is asked of the kernel, and its answers.

mod denies;
mod leases;
mod ranges;

use std::{collections::HashMap, io, time::Instant};

use tokio::sync::oneshot;
use upcall_common::abi::{Key, Offsets};

use super::{Switches, run::Task};
use crate::{
    hold::{self, Break, Leases, Programs, Search, Shares},
    state::{AskId, Connection, Deny, InodeId, Kernel as Answer, LeaseKind},
};
use leases::Opened;
pub(super) use ranges::Test;

/// What ends elsewhere.
pub(super) enum Event {
    /// A session.
    Left(Connection),
    Kernel(Outcome),
}

pub(super) enum Outcome {
    Lease { ask: AskId, inode: InodeId, kind: LeaseKind, opened: Result<Opened, hold::Refusal> },
    Deny { ask: AskId, inode: InodeId, before: Deny, wanted: Deny, searched: io::Result<Search> },
    Range { ask: AskId, inode: InodeId, answer: Answer },
    Tested { test: Test, inode: InodeId, found: Option<hold::Conflict> },
}

/// The kernel's means, as far as they are enabled and there.
pub(super) struct Kernel {
    leases: Option<Leases>,
    shares: Option<Shares>,
    delegates: bool,
    /// Of locks that are waited for: gone, the wait ends.
    waits: HashMap<AskId, oneshot::Sender<()>>,
}

impl Kernel {
    pub(super) fn new(switches: Switches, offsets: &Offsets) -> io::Result<Self> {
        const ADVISORY: &str = "share reservations are advisory";
        let denies = switches.shares && available(ADVISORY, Shares::check()).is_some();
        let mut programs = (switches.leases || denies)
            .then(|| available("local processes are not held", Programs::open(offsets)))
            .flatten();
        let breaks = programs.as_mut().filter(|_| switches.leases).map(Programs::breaks);
        let breaks = breaks.and_then(|loaded| available("leases are advisory", loaded));
        let leases = breaks.map(Leases::new).transpose()?;
        let shares = programs.filter(|_| denies).map(Programs::shares);
        let shares = shares.and_then(|loaded| available(ADVISORY, loaded));
        let delegates = leases.is_some() && hold::delegates();
        Ok(Self { leases, shares, delegates, waits: HashMap::new() })
    }

    pub(super) fn leases(&self) -> bool {
        self.leases.is_some()
    }

    pub(super) fn denies(&self) -> bool {
        self.shares.is_some()
    }

    pub(super) fn delegates(&self) -> bool {
        self.delegates
    }

    /// Waits for a lease to be broken; `None`: others should have their turn.
    pub(super) async fn broken(&mut self) -> io::Result<Option<Break>> {
        match &mut self.leases {
            Some(leases) => leases.broken().await,
            None => std::future::pending().await,
        }
    }

    fn deny(&mut self, key: Key, deny: Deny) -> bool {
        let Some(shares) = &mut self.shares else { return false };
        let done = shares.deny(key, deny.into());
        if let Err(error) = &done {
            tracing::error!(%error, "cannot tell the kernel what to deny");
        }
        done.is_ok()
    }
}

fn available<T>(without: &str, loaded: Result<T, hold::Unsupported>) -> Option<T> {
    loaded.map_err(|why| tracing::info!(%why, "{without}")).ok()
}

impl Task {
    pub(super) fn answered(&mut self, ask: AskId, answer: Answer) {
        self.table.answered(ask, answer, Instant::now());
    }

    pub(super) fn kernel_done(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Lease { ask, inode, kind, opened } => {
                let answer = self.lease_opened(inode, kind, opened);
                self.answered(ask, answer);
            }
            Outcome::Deny { ask, inode, before, wanted, searched } => {
                let answer = self.openers_found(inode, before, wanted, searched);
                self.answered(ask, answer);
            }
            Outcome::Range { ask, inode, answer } => {
                self.kernel.waits.remove(&ask);
                self.opened_for_locks(inode);
                self.answered(ask, answer);
            }
            Outcome::Tested { test, inode, found } => {
                self.opened_for_locks(inode);
                self.tested(test, found);
            }
        }
    }
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
