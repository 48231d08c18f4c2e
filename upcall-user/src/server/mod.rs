//! The only code that talks to sockets: listens, and runs one session per client.

mod events;
mod feed;
mod gaps;
mod kind;
mod link;
mod listen;
mod outlet;
mod register;
mod requests;
mod session;
mod state;
mod stream;
mod transport;

use std::{sync::Arc, time::Duration};

use tokio::sync::{broadcast, watch};

use crate::{
    access::{Exports, Principal},
    arbiter::Arbiter,
    events::{EventSwitch, SharedEvent},
    hub::Hub,
    names::Namer,
};

pub use gaps::Gaps;
pub use link::Link;
pub use listen::{ListenError, Listeners};
pub use outlet::Outlets;
pub use register::STEPS_AT_ONCE;

/// What all sessions share.
pub struct Service {
    pub hub: Arc<Hub>,
    pub exports: Arc<Exports>,
    pub namer: Arc<Namer>,
    pub outlets: Arc<Outlets>,
    /// Holds state for clients, where that is enabled.
    pub arbiter: Option<Arbiter>,
    /// Whom a peer over plaintext TCP counts as.
    pub tcp_principal: Principal,
    pub epoch: u64,
    /// Live events, for those who look.
    pub events: broadcast::Sender<SharedEvent>,
    pub event_switch: EventSwitch,
    /// What `status` adds to the hub's part.
    pub about: serde_json::Value,
    pub hello_timeout: Duration,
    pub stall_timeout: Duration,
    /// Process numbers mean the same here as in the kernel side.
    pub in_initial_pid_namespace: bool,
    pub gaps: Arc<Gaps>,
    /// What is watched outlives the daemon.
    pub pinned: bool,
    /// Becomes true when the daemon ends.
    pub shutdown: watch::Receiver<bool>,
}
