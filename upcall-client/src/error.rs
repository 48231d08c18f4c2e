//! What can go wrong.

use std::io;
use std::time::Duration;

use thiserror::Error;
use upcall_common::wire::{Code, DecodeError, EncodeError};

use crate::Address;

/// Why a connection or a request failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot connect to {address}; is the daemon running?")]
    Connect { address: Address, source: io::Error },
    #[error("the daemon refused: {}", refusal(*code, message))]
    Refused { code: Code, message: String },
    #[error("the daemon broke the protocol: {0}")]
    Protocol(String),
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the daemon closed the connection")]
    Closed,
    #[error("not connected to the daemon: wait for the next `Reconnected`")]
    Disconnected,
    #[error("the daemon did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("the answer is stuck behind upcalls that nobody reads: read `Upcalls` at the same time")]
    NotReading,
    #[error("cannot send the request: {0}")]
    Request(#[from] EncodeError),
    #[error(
        "the daemon holds no leases, shares or locks: enable `leases = true`, `shares = true` or `locks = true` for the export in its configuration"
    )]
    NoState,
    #[error("state has begun on this client with another identity: use that one, or connect another client")]
    Begun,
    #[error("the client has stopped: connect anew")]
    Stopped,
}

/// What the daemon says itself is more to the point than what its code means in general.
fn refusal(code: Code, message: &str) -> String {
    let reason = if message.is_empty() { code.meaning() } else { message };
    format!("{reason} ({code})")
}

impl From<DecodeError> for Error {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl Error {
    /// The frame was well-formed, but not what the daemon may send now.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self::Protocol(what.to_owned())
    }
}

/// Why one item of a request failed; the others are not affected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{code}: {}", code.meaning())]
pub struct ItemError {
    pub code: Code,
}

impl ItemError {
    pub(crate) fn check(code: Code) -> Result<(), Self> {
        if code.is_ok() { Ok(()) } else { Err(Self { code }) }
    }
}
