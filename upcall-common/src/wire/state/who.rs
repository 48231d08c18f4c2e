//! Who holds something, and who is in the way.

use bytes::{Buf, BufMut, BytesMut};

use super::field::Field;
use crate::wire::MAX_NAME;
use crate::wire::error::{EncodeError, Malformed};
use crate::wire::fields::{put_text, string16, take};

const UNKNOWN: u8 = 0;
const PROCESS: u8 = 1;
const CLIENT: u8 = 2;

/// By which a client is the same one after it has connected again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub [u8; 16]);

/// Under which opens of a client do not conflict with its leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub [u8; 16]);

/// Who is in the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    #[default]
    Unknown,
    /// A process on the storage host.
    Process(u32),
    /// Another client, by its name.
    Client(String),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("somebody"),
            Self::Process(pid) => write!(f, "local process {pid}"),
            Self::Client(name) => write!(f, "client {name}"),
        }
    }
}

fn bytes<const N: usize>(body: &mut &[u8]) -> Result<[u8; N], Malformed> {
    take(body, N)?.try_into().map_err(|_| Malformed("it ends too early"))
}

impl Field for Identity {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        bytes(body).map(Self)
    }
}

impl Field for LeaseId {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        bytes(body).map(Self)
    }
}

impl Field for Who {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let (kind, pid, name) = match self {
            Self::Unknown => (UNKNOWN, 0, ""),
            Self::Process(pid) => (PROCESS, *pid, ""),
            Self::Client(name) => (CLIENT, 0, name.as_str()),
        };
        out.put_u8(kind);
        out.put_u32_le(pid);
        put_text(out, name, MAX_NAME);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let kind = body.try_get_u8()?;
        let pid = body.try_get_u32_le()?;
        let name = string16(body)?;
        Ok(match kind {
            PROCESS => Self::Process(pid),
            CLIENT => Self::Client(name),
            // A newer daemon knows more kinds.
            _ => Self::Unknown,
        })
    }
}
