//! What a client is told unasked.

use std::convert::Infallible;

use tokio::sync::mpsc;
use upcall_common::wire::{Attrs, ResyncReason};

use crate::ItemError;

/// What a client is told unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The inode has changed, or the interest has ended, or both: see `mask` and `ended`.
    Upcall { cookie: u64, interest: u64, mask: u32, version: u64, attrs: Option<Attrs>, ended: bool },
    /// After a reconnection: the inode may have changed meanwhile. Read it again.
    Changed { cookie: u64, interest: u64, version: u64, attrs: Option<Attrs> },
    /// Everything may have changed: trust nothing cached. The interests live on.
    Resync { reason: ResyncReason, text: String },
    /// After a reconnection: this interest could not be registered again and has ended.
    Lost { cookie: u64, interest: u64, error: ItemError },
    /// Nothing is told until [`Reconnected`](Self::Reconnected): caches are in doubt.
    Disconnected { reason: String },
    /// Every live interest is registered again, and [`Changed`](Self::Changed), [`Lost`](Self::Lost) or
    /// [`Resync`](Self::Resync) has told of all that was missed.
    Reconnected,
}

/// The stream of [`Notice`]s.
#[derive(Debug)]
pub struct Upcalls {
    pub(crate) notices: mpsc::Receiver<Notice>,
    /// Keeps the background task alive.
    pub(crate) _alive: mpsc::Sender<Infallible>,
}

impl Upcalls {
    /// The next notice; `None` once the client has stopped (only without [`reconnect`](crate::Options::reconnect)).
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }
}
