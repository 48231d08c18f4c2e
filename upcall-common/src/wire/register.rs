//! Making interests: REGISTER and REGISTERED.

use bytes::{Buf, BufMut, BytesMut};

use super::error::{EncodeError, Malformed};
use super::fields::{bytes16, count, patch, put_bytes16, put_count, take};
use super::{Attrs, Code, MAX_HANDLE};

const INCLUDE_OWN: u32 = 1;
const NAMES: u32 = 2;

const ATTRS: u16 = 1;
const UNCHANGED: u16 = 2;
const CHANGED: u16 = 4;

/// One interest to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterItem {
    /// Comes back in every upcall of this interest.
    pub cookie: u64,
    /// Change bits to hear of.
    pub mask: u32,
    /// Hear of this client's own changes too.
    pub include_own: bool,
    /// Of a directory: hear which entries have changed.
    pub names: bool,
    /// 0: no limit.
    pub lifetime_ms: u32,
    /// The version the client holds, of this epoch; 0: none.
    pub known_version: u64,
    pub target: Target,
}

/// How a file is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An absolute path beneath an export.
    Path(Vec<u8>),
    /// What `name_to_handle_at` gives, and an absolute path on the same filesystem.
    Handle { anchor: Vec<u8>, handle_type: i32, handle: Vec<u8> },
    /// The descriptor at this place among those sent with the frame.
    Descriptor(u8),
    /// A kind from a newer client: to be refused with [`Code::BadTarget`].
    Unrecognised(u8),
}

/// The outcome of one [`RegisterItem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub code: Code,
    pub known: Known,
    /// 0 unless `code` is [`Code::Ok`].
    pub interest: u64,
    /// The version at which the interest became live.
    pub version: u64,
    pub attrs: Option<Attrs>,
}

/// How the inode compares with the version that the client held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// The client named no version, or it means nothing to the daemon.
    #[default]
    None,
    Unchanged,
    Changed,
}

/// How many descriptors accompany a REGISTER frame with these items.
pub fn descriptors(items: &[RegisterItem]) -> usize {
    items.iter().map(|item| item.target.descriptors()).max().unwrap_or(0)
}

impl RegisterItem {
    /// Bytes of an item with the shortest target, its length field included.
    const MIN_LEN: usize = 4 + 32 + 1;

    /// Bytes of this item on the wire.
    pub fn wire_len(&self) -> usize {
        Self::MIN_LEN
            + match &self.target {
                Target::Path(path) => 2 + path.len(),
                Target::Handle { anchor, handle, .. } => 2 + anchor.len() + 4 + 2 + handle.len(),
                Target::Descriptor(_) => 1,
                Target::Unrecognised(_) => 0,
            }
    }

    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        out.put_u32_le(0);
        out.put_u64_le(self.cookie);
        out.put_u32_le(self.mask);
        let names = if self.names { NAMES } else { 0 };
        out.put_u32_le(names | if self.include_own { INCLUDE_OWN } else { 0 });
        out.put_u32_le(self.lifetime_ms);
        out.put_u32_le(0);
        out.put_u64_le(self.known_version);
        self.target.put(out)?;
        let len = out.len() - start - 4;
        let too_long = EncodeError::FieldTooLong { field: "an item", len, limit: u32::MAX as usize };
        patch(out, start, u32::try_from(len).map_err(|_| too_long)?.to_le_bytes());
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let len = usize::try_from(body.try_get_u32_le()?).unwrap_or(usize::MAX);
        let mut item = take(body, len)?;
        let cookie = item.try_get_u64_le()?;
        let mask = item.try_get_u32_le()?;
        let flags = item.try_get_u32_le()?;
        let (include_own, names) = (flags & INCLUDE_OWN != 0, flags & NAMES != 0);
        let lifetime_ms = item.try_get_u32_le()?;
        item.try_get_u32_le()?;
        let known_version = item.try_get_u64_le()?;
        let target = Target::get(&mut item)?;
        Ok(Self { cookie, mask, include_own, names, lifetime_ms, known_version, target })
    }
}

impl Target {
    /// How many descriptors accompany a frame in which this is the last to need one.
    pub fn descriptors(&self) -> usize {
        match self {
            Self::Descriptor(place) => usize::from(*place) + 1,
            _ => 0,
        }
    }

    pub(super) fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Path(path) => {
                out.put_u8(1);
                put_bytes16(out, "a path", path)?;
            }
            Self::Handle { anchor, handle_type, handle } => {
                if handle.len() > MAX_HANDLE {
                    return Err(EncodeError::FieldTooLong {
                        field: "a file handle",
                        len: handle.len(),
                        limit: MAX_HANDLE,
                    });
                }
                out.put_u8(2);
                put_bytes16(out, "an anchor path", anchor)?;
                out.put_i32_le(*handle_type);
                put_bytes16(out, "a file handle", handle)?;
            }
            Self::Descriptor(place) => {
                out.put_u8(3);
                out.put_u8(*place);
            }
            Self::Unrecognised(kind) => out.put_u8(*kind),
        }
        Ok(())
    }

    pub(super) fn get(item: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(match item.try_get_u8()? {
            1 => Self::Path(bytes16(item)?.to_vec()),
            2 => {
                let anchor = bytes16(item)?.to_vec();
                let handle_type = item.try_get_i32_le()?;
                let handle = bytes16(item)?;
                if handle.len() > MAX_HANDLE {
                    return Err(Malformed("a file handle is longer than 128 bytes"));
                }
                Self::Handle { anchor, handle_type, handle: handle.to_vec() }
            }
            3 => Self::Descriptor(item.try_get_u8()?),
            kind => Self::Unrecognised(kind),
        })
    }
}

impl Registered {
    /// Bytes of an item without attributes, its length field included.
    const MIN_LEN: usize = 24;

    /// The outcome of an item that failed.
    pub fn refused(code: Code) -> Self {
        Self { code, known: Known::None, interest: 0, version: 0, attrs: None }
    }

    fn put(&self, out: &mut BytesMut) {
        let (len, attrs_flag) = match self.attrs {
            Some(_) => (Self::MIN_LEN - 2 + Attrs::LEN, ATTRS),
            None => (Self::MIN_LEN - 2, 0),
        };
        let known_flag = match self.known {
            Known::None => 0,
            Known::Unchanged => UNCHANGED,
            Known::Changed => CHANGED,
        };
        out.put_u16_le(len as u16);
        out.put_u16_le(self.code.into());
        out.put_u16_le(attrs_flag | known_flag);
        out.put_u16_le(0);
        out.put_u64_le(self.interest);
        out.put_u64_le(self.version);
        if let Some(attrs) = &self.attrs {
            attrs.put(out);
        }
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let mut item = bytes16(body)?;
        let code = Code::from(item.try_get_u16_le()?);
        let flags = item.try_get_u16_le()?;
        item.try_get_u16_le()?;
        // Both flags at once is a contradiction: the answer that makes the client re-read is safe.
        let known = match (flags & CHANGED != 0, flags & UNCHANGED != 0) {
            (true, _) => Known::Changed,
            (false, true) => Known::Unchanged,
            (false, false) => Known::None,
        };
        Ok(Self {
            code,
            known,
            interest: item.try_get_u64_le()?,
            version: item.try_get_u64_le()?,
            attrs: if flags & ATTRS != 0 { Some(Attrs::get(&mut item)?) } else { None },
        })
    }
}

pub(super) fn put_register(out: &mut BytesMut, items: &[RegisterItem]) -> Result<(), EncodeError> {
    put_count(out, items.len());
    items.iter().try_for_each(|item| item.put(out))
}

pub(super) fn get_register(body: &mut &[u8]) -> Result<Vec<RegisterItem>, Malformed> {
    let count = count(body, RegisterItem::MIN_LEN)?;
    (0..count).map(|_| RegisterItem::get(body)).collect()
}

pub(super) fn put_registered(out: &mut BytesMut, items: &[Registered]) {
    put_count(out, items.len());
    items.iter().for_each(|item| item.put(out));
}

pub(super) fn get_registered(body: &mut &[u8]) -> Result<Vec<Registered>, Malformed> {
    let count = count(body, Registered::MIN_LEN)?;
    (0..count).map(|_| Registered::get(body)).collect()
}
