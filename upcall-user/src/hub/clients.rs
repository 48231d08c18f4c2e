//! What the daemon knows of each connection.

use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

use super::ClientIndex;
use crate::sys::peer;

/// For the operator.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ClientInfo {
    /// As the client named itself.
    pub name: String,
    /// `unix` or the peer's TCP address.
    pub address: String,
    pub uid: u32,
    /// 0 over TCP: unknown.
    pub pid: u32,
}

/// The process at the other end of a Unix socket. Holding its pidfd tells whether it still lives, so that a
/// process that got its number later is not taken for it.
#[derive(Debug)]
pub struct Process {
    tgid: u32,
    pidfd: OwnedFd,
}

impl Process {
    pub fn new(tgid: u32, pidfd: OwnedFd) -> Self {
        Self { tgid, pidfd }
    }

    pub fn tgid(&self) -> u32 {
        self.tgid
    }

    fn lives(&self) -> bool {
        // In doubt it does not, and the client is told.
        peer::pidfd_is_alive(self.pidfd.as_fd()).unwrap_or(false)
    }
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) info: ClientInfo,
    pub(super) since: Instant,
    process: Option<Process>,
    notify: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct Clients(HashMap<ClientIndex, Client>);

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn insert(
        &mut self,
        index: ClientIndex,
        info: ClientInfo,
        process: Option<Process>,
    ) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        self.0.insert(index, Client { info, since: Instant::now(), process, notify: Arc::clone(&notify) });
        notify
    }

    pub(super) fn remove(&mut self, index: ClientIndex) {
        self.0.remove(&index);
    }

    pub(super) fn notify(&self, index: ClientIndex) {
        if let Some(client) = self.0.get(&index) {
            client.notify.notify_one();
        }
    }

    pub(super) fn process_lives(&self, index: ClientIndex) -> bool {
        self.0.get(&index).and_then(|client| client.process.as_ref()).is_some_and(Process::lives)
    }

    pub(super) fn is_process(&self, index: ClientIndex, tgid: u32) -> bool {
        let process = self.0.get(&index).and_then(|client| client.process.as_ref());
        process.is_some_and(|process| process.tgid() == tgid && process.lives())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientIndex, &Client)> {
        self.0.iter().map(|(index, client)| (*index, client))
    }
}
