//! Frames: a 12-byte header and a body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::MAX_BODY;
use super::error::{DecodeError, EncodeError};
use super::fields::patch;
use super::numbered::numbered;

/// Bytes of a header.
pub const HEADER_LEN: usize = 12;

numbered! {
    /// What a frame's body is.
    pub enum FrameType {
        Hello = 1, "hello", "client: the first frame";
        Welcome = 2, "welcome", "daemon: the answer to HELLO";
        Register = 3, "register", "client: make interests";
        Registered = 4, "registered", "daemon: the answer to REGISTER";
        Unregister = 5, "unregister", "client: end interests";
        Unregistered = 6, "unregistered", "daemon: the answer to UNREGISTER";
        Renew = 7, "renew", "client: set lifetimes anew";
        Renewed = 8, "renewed", "daemon: the answer to RENEW";
        Upcall = 9, "upcall", "daemon: inodes have changed or interests have ended";
        Sync = 10, "sync", "client: ask for a barrier";
        Synced = 11, "synced", "daemon: the answer to SYNC";
        Ping = 12, "ping", "either side: ask for a PONG";
        Pong = 13, "pong", "either side: the answer to PING";
        Resync = 14, "resync", "daemon: everything cached may be stale";
        Error = 15, "error", "daemon: a request or the connection has failed";
        Status = 16, "status", "operator: ask for the daemon's state";
        StatusReply = 17, "status_reply", "daemon: the answer to STATUS";
        Events = 18, "events", "operator: start a stream of events";
        Event = 19, "event", "daemon: one event";
        StateBegin = 20, "state_begin", "client: hold state under an identity";
        StateBegun = 21, "state_begun", "daemon: the answer to STATE_BEGIN";
        StateReclaimed = 22, "state_reclaimed", "client: everything that it still has is reclaimed";
        Open = 23, "open", "client: open a file, perhaps with a share reservation";
        Opened = 24, "opened", "daemon: the answer to OPEN";
        OpenChange = 25, "open_change", "client: change an open's modes";
        Close = 26, "close", "client: give up an open and all it carries";
        Lease = 27, "lease", "client: ask for a lease";
        Leased = 28, "leased", "daemon: the answer to LEASE";
        Return = 29, "return", "client: give up a lease, or the writing part of it";
        Extend = 30, "extend", "client: ask for more time to return";
        Extended = 31, "extended", "daemon: the answer to EXTEND";
        Lock = 32, "lock", "client: lock a range";
        Locked = 33, "locked", "daemon: the answer to LOCK";
        Unlock = 34, "unlock", "client: unlock a range";
        LockTest = 35, "lock_test", "client: ask what is in the way of a lock";
        LockConflict = 36, "lock_conflict", "daemon: the answer to LOCK_TEST";
        Cancel = 37, "cancel", "client: give up a request that waits";
        Done = 38, "done", "daemon: the answer to requests with nothing but an outcome";
        StateQuery = 39, "state_query", "client: ask what is held";
        StateShown = 40, "state_shown", "daemon: the answer to STATE_QUERY";
        Recall = 41, "recall", "daemon: a lease must be returned";
        Revoked = 42, "revoked", "daemon: a lease is gone";
        OpenGranted = 43, "open_granted", "daemon: an OPEN that waited has its outcome";
        LockGranted = 44, "lock_granted", "daemon: a LOCK that waited has its outcome";
        Contention = 45, "contention", "daemon: somebody waits for a lock";
    }
}

/// The first bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub body_len: u32,
    pub kind: u16,
    /// No bit has a meaning yet.
    pub flags: u16,
    /// Chosen by the requester, echoed in the answer; 0 in unsolicited frames.
    pub tag: u32,
}

impl Header {
    /// The header at the start of `buf`, or `None` when it is not all there.
    pub fn peek(mut buf: &[u8]) -> Option<Self> {
        Some(Self {
            body_len: buf.try_get_u32_le().ok()?,
            kind: buf.try_get_u16_le().ok()?,
            flags: buf.try_get_u16_le().ok()?,
            tag: buf.try_get_u32_le().ok()?,
        })
    }
}

/// Takes one whole frame off `buf`, of whatever type. `None`: more bytes are needed.
/// A frame with a body above `max_body` is refused as soon as its header is there.
pub fn take_frame(buf: &mut BytesMut, max_body: u32) -> Result<Option<(Header, Bytes)>, DecodeError> {
    let Some(header) = Header::peek(buf) else { return Ok(None) };
    let Header { body_len, tag, .. } = header;
    let too_large = DecodeError::FrameTooLarge { tag, body_len, limit: max_body };
    if body_len > max_body {
        return Err(too_large);
    }
    let body_len = usize::try_from(body_len).map_err(|_| too_large)?;
    if buf.len() - HEADER_LEN < body_len {
        return Ok(None);
    }
    buf.advance(HEADER_LEN);
    Ok(Some((header, buf.split_to(body_len).freeze())))
}

/// Appends a header whose length [`finish_frame`] fills in. Returns where the frame starts.
pub(super) fn start_frame(out: &mut BytesMut, kind: u16, tag: u32) -> usize {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u16_le(kind);
    out.put_u16_le(0);
    out.put_u32_le(tag);
    start
}

/// Fills in the length of the frame that began at `start`, or removes it when it is too large.
pub(super) fn finish_frame(out: &mut BytesMut, start: usize) -> Result<(), EncodeError> {
    let body_len = out.len() - start - HEADER_LEN;
    match u32::try_from(body_len) {
        Ok(len) if len <= MAX_BODY => {
            patch(out, start, len.to_le_bytes());
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(EncodeError::BodyTooLarge(body_len))
        }
    }
}
