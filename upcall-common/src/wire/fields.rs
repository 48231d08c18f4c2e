//! Variable-length fields: each length is checked against the bytes at hand before it is used.

use bytes::{Buf, BufMut, BytesMut};

use super::error::{EncodeError, Malformed};

/// The next `len` bytes.
pub(super) fn take<'a>(body: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (field, rest) = body.split_at_checked(len).ok_or(Malformed("a length reaches beyond the end"))?;
    *body = rest;
    Ok(field)
}

/// A `u16` length and as many bytes.
pub(super) fn bytes16<'a>(body: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let len = body.try_get_u16_le()?;
    take(body, usize::from(len))
}

/// A `u16` length and as much UTF-8.
pub(super) fn string16(body: &mut &[u8]) -> Result<String, Malformed> {
    utf8(bytes16(body)?)
}

pub(super) fn utf8(bytes: &[u8]) -> Result<String, Malformed> {
    Ok(std::str::from_utf8(bytes).map_err(|_| Malformed("a text is not UTF-8"))?.to_owned())
}

/// A `u32` count of items of at least `min_item` bytes each.
pub(super) fn count(body: &mut &[u8], min_item: usize) -> Result<usize, Malformed> {
    let count = usize::try_from(body.try_get_u32_le()?).unwrap_or(usize::MAX);
    if count > body.len() / min_item {
        return Err(Malformed("it has fewer items than it announces"));
    }
    Ok(count)
}

pub(super) fn put_bytes16(out: &mut BytesMut, field: &'static str, bytes: &[u8]) -> Result<(), EncodeError> {
    let len = u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong {
        field,
        len: bytes.len(),
        limit: usize::from(u16::MAX),
    })?;
    out.put_u16_le(len);
    out.put_slice(bytes);
    Ok(())
}

/// Appends as much of `text` as `limit` bytes hold. `limit` must fit a `u16`.
pub(super) fn put_text(out: &mut BytesMut, text: &str, limit: usize) {
    let text = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
    out.put_u16_le(u16::try_from(text.len()).unwrap_or_default());
    out.put_slice(text.as_bytes());
}

pub(super) fn put_count(out: &mut BytesMut, count: usize) {
    // A count that saturates belongs to a body that is refused for its size.
    out.put_u32_le(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Overwrites the bytes at `at`, which have been appended before.
pub(super) fn patch<const N: usize>(out: &mut BytesMut, at: usize, bytes: [u8; N]) {
    if let Some(place) = out.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
