//! What the daemon answers. Each has a code and a text for a person.

use bytes::{BufMut, BytesMut};

use super::field::Field;
use super::record::{messages, record};
use super::{GrantFlags, LockKind, Means, ShownFlags, Who};
use crate::wire::Code;
use crate::wire::error::{EncodeError, Malformed};
use crate::wire::fields::{take, utf8};

messages! {
    pub enum StateAnswer {
        StateBegun(StateBegun),
        Opened(Opened),
        Leased(Leased),
        Extended(Extended),
        Locked(Locked),
        LockConflict(LockConflict),
        Done(Done),
        StateShown(StateShown),
    }
}

record! {
    pub struct StateBegun {
        code: Code,
        means: Means,
        /// From a recall to the revocation.
        recall_ms: u32,
        /// How long what a client holds outlives its connection.
        grace_ms: u32,
        /// For how long only reclaims are accepted; 0: no restriction.
        reclaim_ms: u32,
        text: String,
    }
}

record! {
    pub struct Opened {
        code: Code,
        flags: GrantFlags,
        open: u64,
        /// Of which it is an open.
        file: u64,
        /// With [`Code::Waiting`]: an OPEN_GRANTED with this number follows.
        request: u64,
        text: String,
    }
}

record! {
    pub struct Leased {
        code: Code,
        flags: GrantFlags,
        text: String,
    }
}

record! {
    pub struct Extended {
        code: Code,
        /// From now to the revocation.
        deadline_ms: u32,
        text: String,
    }
}

record! {
    pub struct Locked {
        code: Code,
        flags: GrantFlags,
        /// With [`Code::Waiting`]: a LOCK_GRANTED with this number follows.
        request: u64,
        text: String,
    }
}

record! {
    /// With [`Code::Conflict`]: a lock that is in the way. [`Code::Ok`]: none is.
    pub struct LockConflict {
        code: Code,
        kind: LockKind,
        start: u64,
        /// As of [`Lock`](super::Lock).
        length: u64,
        who: Who,
        text: String,
    }
}

record! {
    pub struct Done {
        code: Code,
        text: String,
    }
}

record! {
    pub struct StateShown {
        flags: ShownFlags,
        json: Json,
    }
}

/// A JSON object, to the end of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub String);

impl Field for Json {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_slice(self.0.as_bytes());
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let len = body.len();
        utf8(take(body, len)?).map(Self)
    }
}
