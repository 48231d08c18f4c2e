//! The hub's part of `upcall status`.

use serde::Serialize;

use super::{Account, ClientInfo, Hub, KernelCounts};

/// Counts of the daemon's own work since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Dirty slots taken.
    pub takes: u64,
    /// Changes told by the daemon itself, without a mark.
    pub retold: u64,
    /// Times that all slots were looked at.
    pub scans: u64,
    /// Changes that no hook saw, but the safety net.
    pub net_only: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ClientStatus {
    #[serde(flatten)]
    pub info: ClientInfo,
    pub connected_seconds: u64,
    pub interests: usize,
    /// Interests with an upcall that waits to be written.
    pub pending: usize,
    #[serde(flatten)]
    pub account: Account,
}

#[derive(Clone, Debug, Serialize)]
pub struct HubStatus {
    pub uptime_seconds: u64,
    pub slots: u32,
    pub slots_used: usize,
    pub interests: usize,
    /// Inodes that wait for clients that are gone and may come back.
    pub unclaimed: usize,
    /// Slots whose trailing edge is still to come.
    pub unsettled: usize,
    /// Slots that are looked at now and then: mapped writable, or of an overlay and not copied up.
    pub resting: usize,
    #[serde(flatten)]
    pub totals: Totals,
    pub kernel: KernelCounts,
    /// Sums over all clients, past ones included.
    pub account: Account,
    pub clients: Vec<ClientStatus>,
}

impl Hub {
    pub fn status(&self) -> HubStatus {
        let mut state = self.lock();
        let kernel = state.kernel.counts().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the kernel's counters");
            KernelCounts::default()
        });
        let mut clients: Vec<_> = state
            .clients
            .iter()
            .map(|(index, client)| ClientStatus {
                info: client.info.clone(),
                connected_seconds: client.since.elapsed().as_secs(),
                interests: state.registry.interests_of(index),
                pending: state.registry.pending_of(index),
                account: state.registry.account_of(index),
            })
            .collect();
        clients.sort_by_key(|client| std::cmp::Reverse(client.connected_seconds));
        HubStatus {
            uptime_seconds: state.started.elapsed().as_secs(),
            slots: state.slots.capacity(),
            slots_used: state.registry.slots() - state.unclaimed.len(),
            unclaimed: state.unclaimed.len(),
            interests: state.registry.interests(),
            unsettled: state.trail.unsettled(),
            resting: state.trail.resting(),
            totals: state.totals,
            kernel,
            account: state.registry.account(),
            clients,
        }
    }
}
