//! What a client says: a JSON object a line.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cache::Counts;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Finding(Finding),
    Counts(Counts),
}

/// A promise that was not kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: Broken,
    pub(crate) client: usize,
    pub(crate) details: String,
    /// What was done to its stage, in lines.
    pub(crate) history: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, client, details, history } = self;
        write!(f, "{what:?}: client {client}: {details}\n{history}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Broken {
    /// What is kept after a SYNC while others write is older than the SYNC.
    StaleWhileWriting,
    /// What is kept after a SYNC is not what is on the disk, although nobody writes.
    StaleAfterSync,
    /// No upcall has come for what has changed, although nobody writes and time enough has passed.
    NotTold,
    /// A client has lost its connection, or has not got it back, by no fault of its own.
    Disconnected,
    /// A request was refused for no good reason.
    Refused,
}

impl Broken {
    pub(crate) fn is_stale(self) -> bool {
        matches!(self, Self::StaleWhileWriting | Self::StaleAfterSync | Self::NotTold)
    }
}
