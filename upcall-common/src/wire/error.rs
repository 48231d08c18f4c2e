//! What can be wrong with a frame.

use bytes::TryGetError;
use thiserror::Error;

use super::{Code, MAX_BODY};

/// A frame that cannot be understood. Answer with [`code`](Self::code) and [`tag`](Self::tag), then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("frame announces a body of {body_len} bytes, more than {limit}")]
    FrameTooLarge { tag: u32, body_len: u32, limit: u32 },
    #[error("malformed frame of type {kind}: {what}")]
    Malformed { tag: u32, kind: u16, what: &'static str },
}

impl DecodeError {
    /// The code of the ERROR frame that answers this.
    pub fn code(&self) -> Code {
        match self {
            Self::FrameTooLarge { .. } => Code::FrameTooLarge,
            Self::Malformed { .. } => Code::Malformed,
        }
    }

    /// The tag of the ERROR frame that answers this.
    pub fn tag(&self) -> u32 {
        match self {
            Self::FrameTooLarge { tag, .. } | Self::Malformed { tag, .. } => *tag,
        }
    }
}

/// A message that the protocol has no room for. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("message needs a body of {0} bytes, more than {MAX_BODY}: split it")]
    BodyTooLarge(usize),
    #[error("{field} has {len} bytes, more than {limit}: shorten it")]
    FieldTooLong { field: &'static str, len: usize, limit: usize },
}

/// What is wrong with a body, before tag and type are known.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) &'static str);

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        Self("it ends too early")
    }
}
