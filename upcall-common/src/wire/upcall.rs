//! UPCALL: what the daemon sends unasked.

use bytes::{Buf, BufMut, BytesMut};

use super::entries::{self, EntryName};
use super::error::Malformed;
use super::fields::{bytes16, count, patch, put_count};
use super::frame::{finish_frame, start_frame};
use super::{Attrs, FrameType, HEADER_LEN, MAX_BODY, MAX_ENTRY_BYTES, MAX_UPCALLS};

const ATTRS: u16 = 1;
const ENDED: u16 = 2;
const NAMES: u16 = 4;
const NAMES_INCOMPLETE: u16 = 8;

/// Bytes of an item without optional parts, its length field included.
const MIN_LEN: usize = 32;
/// Bytes of the longest item.
const MAX_LEN: usize = MIN_LEN + Attrs::LEN + 2 + MAX_ENTRY_BYTES;
const _: () = assert!(MAX_LEN - 2 <= u16::MAX as usize);

/// One interest with something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpcallItem {
    /// Change bits since the last upcall of this interest.
    pub mask: u32,
    pub cookie: u64,
    pub interest: u64,
    /// Covers every change up to this version.
    pub version: u64,
    pub attrs: Option<Attrs>,
    /// This is the interest's last upcall.
    pub ended: bool,
    /// Entries of the directory that have changed. More than an item may carry are not sent, and it says so.
    pub names: Vec<EntryName>,
    /// Entries have changed that are not named in this upcall or an earlier one.
    pub names_incomplete: bool,
}

impl UpcallItem {
    /// Bytes of this item on the wire, its length field included.
    fn wire_len(&self) -> usize {
        let attrs = if self.attrs.is_some() { Attrs::LEN } else { 0 };
        MIN_LEN + attrs + self.names().map_or(0, entries::block_len)
    }

    /// The names to send.
    fn names(&self) -> Option<&[EntryName]> {
        (!self.names.is_empty() && entries::fit(&self.names)).then_some(&*self.names)
    }

    fn put(&self, out: &mut BytesMut) {
        let names = self.names();
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let incomplete = self.names_incomplete || names.is_none() && !self.names.is_empty();
        out.put_u16_le((self.wire_len() - 2) as u16);
        out.put_u16_le(
            flag(self.attrs.is_some(), ATTRS)
                | flag(self.ended, ENDED)
                | flag(names.is_some(), NAMES)
                | flag(incomplete, NAMES_INCOMPLETE),
        );
        out.put_u32_le(self.mask);
        out.put_u64_le(self.cookie);
        out.put_u64_le(self.interest);
        out.put_u64_le(self.version);
        if let Some(attrs) = &self.attrs {
            attrs.put(out);
        }
        if let Some(names) = names {
            entries::put(out, names);
        }
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let mut item = bytes16(body)?;
        let flags = item.try_get_u16_le()?;
        Ok(Self {
            mask: item.try_get_u32_le()?,
            cookie: item.try_get_u64_le()?,
            interest: item.try_get_u64_le()?,
            version: item.try_get_u64_le()?,
            attrs: if flags & ATTRS != 0 { Some(Attrs::get(&mut item)?) } else { None },
            ended: flags & ENDED != 0,
            names: if flags & NAMES != 0 { entries::get(&mut item)? } else { Vec::new() },
            names_incomplete: flags & NAMES_INCOMPLETE != 0,
        })
    }
}

pub(super) fn put_upcalls(out: &mut BytesMut, items: &[UpcallItem]) {
    put_count(out, items.len());
    items.iter().for_each(|item| item.put(out));
}

pub(super) fn get_upcalls(body: &mut &[u8]) -> Result<Vec<UpcallItem>, Malformed> {
    let count = count(body, MIN_LEN)?;
    (0..count).map(|_| UpcallItem::get(body)).collect()
}

/// An UPCALL frame under construction at the end of a buffer. It becomes a frame when it is finished or
/// dropped; without an item the buffer stays as it was.
#[derive(Debug)]
pub struct UpcallBatch<'a> {
    out: &'a mut BytesMut,
    start: usize,
    count: u32,
}

impl<'a> UpcallBatch<'a> {
    pub fn begin(out: &'a mut BytesMut) -> Self {
        let start = start_frame(out, FrameType::Upcall.into(), 0);
        out.put_u32_le(0);
        Self { out, start, count: 0 }
    }

    /// Appends an item. False: it has no room in this batch and was not taken. An empty batch has room for any.
    #[must_use]
    pub fn push(&mut self, item: &UpcallItem) -> bool {
        let body = self.out.len() - self.start - HEADER_LEN;
        if self.count >= MAX_UPCALLS || body + item.wire_len() > MAX_BODY as usize {
            return false;
        }
        item.put(self.out);
        self.count += 1;
        true
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ends the frame and tells how many items it has.
    pub fn finish(self) -> u32 {
        self.count
    }
}

impl Drop for UpcallBatch<'_> {
    fn drop(&mut self) {
        if self.count == 0 {
            self.out.truncate(self.start);
            return;
        }
        patch(self.out, self.start + HEADER_LEN, self.count.to_le_bytes());
        let finished = finish_frame(self.out, self.start);
        debug_assert!(finished.is_ok(), "a full batch fits a frame");
    }
}

const _: () = assert!(4 + MAX_LEN <= MAX_BODY as usize);
