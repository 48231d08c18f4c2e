//! Every message, and its way to and from a frame.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::{DecodeError, EncodeError, Malformed};
use super::fields::{put_text, string16, utf8};
use super::frame::{FrameType, Header, finish_frame, start_frame, take_frame};
use super::{
    Code, Hello, MAX_BODY, MAX_PING, MAX_TEXT, RegisterItem, Registered, RenewItem, ResyncReason,
    StateAnswer, StateRequest, StateUpcall, UpcallItem, Welcome,
};
use super::{register, renew, upcall};

/// A decoded frame, without its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    Welcome(Welcome),
    Register(Vec<RegisterItem>),
    Registered(Vec<Registered>),
    Unregister(Vec<u64>),
    Unregistered(Vec<Code>),
    Renew(Vec<RenewItem>),
    Renewed(Vec<Code>),
    Upcall(Vec<UpcallItem>),
    Sync,
    Synced,
    Ping(Bytes),
    Pong(Bytes),
    Resync { reason: ResyncReason, text: String },
    Error { code: Code, message: String },
    Status,
    StatusReply(String),
    Events(String),
    Event(String),
    StateRequest(StateRequest),
    StateAnswer(StateAnswer),
    StateUpcall(StateUpcall),
    Unknown { kind: u16, body: Bytes },
}

/// Takes one whole frame off `buf`. `None`: more bytes are needed.
pub fn decode(buf: &mut BytesMut) -> Result<Option<(u32, Message)>, DecodeError> {
    let Some((header, body)) = take_frame(buf, MAX_BODY)? else { return Ok(None) };
    Ok(Some((header.tag, Message::decode(&header, body)?)))
}

/// Appends `message` as one frame. On failure `out` is as it was.
pub fn encode(message: &Message, tag: u32, out: &mut BytesMut) -> Result<(), EncodeError> {
    let start = start_frame(out, message.kind(), tag);
    match message.put_body(out) {
        Ok(()) => finish_frame(out, start),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

impl Message {
    /// The type number of this message's frame.
    pub fn kind(&self) -> u16 {
        let frame_type = match self {
            Self::Hello(_) => FrameType::Hello,
            Self::Welcome(_) => FrameType::Welcome,
            Self::Register(_) => FrameType::Register,
            Self::Registered(_) => FrameType::Registered,
            Self::Unregister(_) => FrameType::Unregister,
            Self::Unregistered(_) => FrameType::Unregistered,
            Self::Renew(_) => FrameType::Renew,
            Self::Renewed(_) => FrameType::Renewed,
            Self::Upcall(_) => FrameType::Upcall,
            Self::Sync => FrameType::Sync,
            Self::Synced => FrameType::Synced,
            Self::Ping(_) => FrameType::Ping,
            Self::Pong(_) => FrameType::Pong,
            Self::Resync { .. } => FrameType::Resync,
            Self::Error { .. } => FrameType::Error,
            Self::Status => FrameType::Status,
            Self::StatusReply(_) => FrameType::StatusReply,
            Self::Events(_) => FrameType::Events,
            Self::Event(_) => FrameType::Event,
            Self::StateRequest(request) => request.frame_type(),
            Self::StateAnswer(answer) => answer.frame_type(),
            Self::StateUpcall(upcall) => upcall.frame_type(),
            Self::Unknown { kind, .. } => return *kind,
        };
        frame_type.into()
    }

    /// The message in a frame that [`take_frame`] has taken.
    pub fn decode(header: &Header, body: Bytes) -> Result<Self, DecodeError> {
        let Header { kind, tag, .. } = *header;
        Self::get_body(kind, body).map_err(|Malformed(what)| DecodeError::Malformed { tag, kind, what })
    }

    fn get_body(kind: u16, body: Bytes) -> Result<Self, Malformed> {
        let mut rest: &[u8] = &body;
        let rest = &mut rest;
        Ok(match FrameType::from(kind) {
            FrameType::Hello => Self::Hello(Hello::get(rest)?),
            FrameType::Welcome => Self::Welcome(Welcome::get(rest)?),
            FrameType::Register => Self::Register(register::get_register(rest)?),
            FrameType::Registered => Self::Registered(register::get_registered(rest)?),
            FrameType::Unregister => Self::Unregister(renew::get_unregister(rest)?),
            FrameType::Unregistered => Self::Unregistered(renew::get_codes(rest)?),
            FrameType::Renew => Self::Renew(renew::get_renew(rest)?),
            FrameType::Renewed => Self::Renewed(renew::get_codes(rest)?),
            FrameType::Upcall => Self::Upcall(upcall::get_upcalls(rest)?),
            FrameType::Sync => Self::Sync,
            FrameType::Synced => Self::Synced,
            FrameType::Ping => Self::Ping(payload(&body)?),
            FrameType::Pong => Self::Pong(payload(&body)?),
            FrameType::Resync => Self::Resync { reason: reason(rest)?.into(), text: string16(rest)? },
            FrameType::Error => Self::Error { code: reason(rest)?.into(), message: string16(rest)? },
            FrameType::Status => Self::Status,
            FrameType::StatusReply => Self::StatusReply(utf8(&body)?),
            FrameType::Events => Self::Events(utf8(&body)?),
            FrameType::Event => Self::Event(utf8(&body)?),
            FrameType::Unrecognised(kind) => Self::Unknown { kind, body },
            of_state => Self::get_state(of_state, rest)?,
        })
    }

    fn get_state(frame_type: FrameType, body: &mut &[u8]) -> Result<Self, Malformed> {
        if let Some(request) = StateRequest::get(frame_type, body)? {
            return Ok(Self::StateRequest(request));
        }
        if let Some(answer) = StateAnswer::get(frame_type, body)? {
            return Ok(Self::StateAnswer(answer));
        }
        let upcall = StateUpcall::get(frame_type, body)?;
        upcall.map(Self::StateUpcall).ok_or(Malformed("its type has no body"))
    }

    fn put_body(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Hello(hello) => hello.put(out),
            Self::Welcome(welcome) => welcome.put(out),
            Self::Register(items) => register::put_register(out, items)?,
            Self::Registered(items) => register::put_registered(out, items),
            Self::Unregister(interests) => renew::put_unregister(out, interests),
            Self::Unregistered(codes) | Self::Renewed(codes) => renew::put_codes(out, codes),
            Self::Renew(items) => renew::put_renew(out, items),
            Self::Upcall(items) => upcall::put_upcalls(out, items),
            Self::Sync | Self::Synced | Self::Status => {}
            Self::Ping(bytes) | Self::Pong(bytes) => put_payload(out, bytes)?,
            Self::Resync { reason, text } => put_reason(out, (*reason).into(), text),
            Self::Error { code, message } => put_reason(out, (*code).into(), message),
            Self::StatusReply(json) | Self::Events(json) | Self::Event(json) => {
                out.put_slice(json.as_bytes())
            }
            Self::StateRequest(request) => request.put(out)?,
            Self::StateAnswer(answer) => answer.put(out)?,
            Self::StateUpcall(upcall) => upcall.put(out)?,
            Self::Unknown { body, .. } => out.put_slice(body),
        }
        Ok(())
    }
}

fn payload(body: &Bytes) -> Result<Bytes, Malformed> {
    if body.len() > MAX_PING {
        return Err(Malformed("a payload is longer than 64 bytes"));
    }
    Ok(body.clone())
}

fn put_payload(out: &mut BytesMut, bytes: &[u8]) -> Result<(), EncodeError> {
    if bytes.len() > MAX_PING {
        return Err(EncodeError::FieldTooLong { field: "a payload", len: bytes.len(), limit: MAX_PING });
    }
    out.put_slice(bytes);
    Ok(())
}

/// A number and a reserved one.
fn reason(body: &mut &[u8]) -> Result<u16, Malformed> {
    let number = body.try_get_u16_le()?;
    body.try_get_u16_le()?;
    Ok(number)
}

fn put_reason(out: &mut BytesMut, number: u16, text: &str) {
    out.put_u16_le(number);
    out.put_u16_le(0);
    put_text(out, text, MAX_TEXT);
}
