//! What a client is told unasked.

use std::convert::Infallible;

use tokio::sync::mpsc;
use upcall_common::wire::{Attrs, EntryName, ResyncReason};

use crate::{ItemError, StateNotice};

/// What a client is told unasked, in the order in which it must be acted upon.
///
/// A broken connection shows as `Disconnected`, then, as interests come alive again, `Upcall`, `Changed` and
/// `Lost` in any order, then `State` as what is held is reclaimed, then perhaps `Resync`, then `Reconnected`. When it
/// breaks again in between, another `Disconnected` comes first; nothing that was to be told is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The inode has changed, or the interest has ended, or both: see `mask` and `ended`.
    /// `names` is empty unless the watch asks for [`names`](crate::Watch::names).
    Upcall {
        cookie: u64,
        interest: u64,
        mask: u32,
        version: u64,
        attrs: Option<Attrs>,
        ended: bool,
        names: Names,
    },
    /// Between [`Disconnected`](Self::Disconnected) and [`Reconnected`](Self::Reconnected): the interest is
    /// live again, and the inode has changed, or may have, since the program was last told of it. Drop what is
    /// cached of it, also what was read since `Disconnected`. What is read from now on is at `version` or
    /// newer, and later changes are told. A watch by path may be of another inode now, which has taken the name. Does
    /// not come where `Resync` is about to say so of everything.
    Changed { cookie: u64, interest: u64, version: u64, attrs: Option<Attrs> },
    /// Everything may have changed: drop all that is cached, whenever it was read. The interests live on, and
    /// every one is registered: what is read from now on is as good as what is read after a registration. Versions
    /// heard before mean nothing any more: the next upcall's may be lower.
    ///
    /// Comes when the daemon says so; after a reconnection to a daemon that cannot compare versions with the
    /// former one's (another epoch), or that says so before every interest is registered again, it comes once
    /// they all are, immediately before [`Reconnected`](Self::Reconnected).
    Resync { reason: ResyncReason, text: String },
    /// Between [`Disconnected`](Self::Disconnected) and [`Reconnected`](Self::Reconnected): this interest could
    /// not be registered again and has ended. Drop what is cached of it; register anew to go on.
    Lost { cookie: u64, interest: u64, error: ItemError },
    /// Of what this client [holds](crate::StateClient).
    State(StateNotice),
    /// The connection is gone. Until [`Reconnected`](Self::Reconnected) changes may be told late: everything
    /// cached is in doubt, and so is what is read meanwhile. Keep it, to be used again after `Reconnected`
    /// unless [`Changed`](Self::Changed), [`Lost`](Self::Lost), [`Resync`](Self::Resync) or an
    /// [`Upcall`](Self::Upcall) says otherwise.
    Disconnected { reason: String },
    /// Every live interest is registered again, and [`Changed`](Self::Changed), [`Lost`](Self::Lost) or
    /// [`Resync`](Self::Resync) has told of all that was missed: what is still cached can be trusted.
    Reconnected,
}

/// Entries of a directory that have changed.
///
/// An upcall without any and not `incomplete` only announces: the names come with a later one, or have come with an
/// earlier one. After [`Client::sync`](crate::Client::sync) all names of what was complete before have come.
/// [`Notice::Changed`] and [`Notice::Resync`] mean that names have been missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What happened, in order; but equal changes by one process may be told as one, at the place of the first.
    /// So look up what each name stands for now.
    pub entries: Vec<EntryName>,
    /// Others have changed that are named nowhere: list the directory again.
    pub incomplete: bool,
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
