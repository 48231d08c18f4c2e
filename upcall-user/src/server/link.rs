//! By which the arbiter tells a connection.

use std::sync::Arc;

use tokio::sync::Notify;
use upcall_common::wire::Message;

use super::{outlet::Outlet, session::frame};
use crate::hub::ClientIndex;

/// Frames leave in the order in which they are told: an answer never before, or after, what was told before, or after.
#[derive(Clone, Debug)]
pub struct Link {
    pub(super) outlet: Arc<Outlet>,
    /// Wakes the session.
    pub(super) session: Arc<Notify>,
    pub(super) pid: u32,
    pub(super) client: ClientIndex,
}

impl Link {
    pub fn tell(&self, message: &Message, tag: u32) {
        if !self.outlet.tell(&frame(message, tag)) {
            self.session.notify_one();
        }
    }

    /// Another connection of the client has taken over: this one is closed.
    pub fn end(&self) {
        self.outlet.supersede();
        self.session.notify_one();
    }

    /// The connection's, in the hub.
    pub fn client(&self) -> ClientIndex {
        self.client
    }

    /// Of the process at the other end; 0: not known.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
