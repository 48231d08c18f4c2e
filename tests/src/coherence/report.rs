//! What a client says: a JSON object a line.

use std::io::{self, Write};

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
    /// Of the run's clock.
    pub(crate) at_ns: u64,
    /// What happened to it is in the history of this stage.
    pub(crate) stage: Option<usize>,
    pub(crate) details: String,
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

pub(crate) fn say(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(report)?)?;
    out.flush()
}
