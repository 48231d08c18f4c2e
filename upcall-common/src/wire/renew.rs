//! Requests about existing interests: UNREGISTER, RENEW and their answers.

use bytes::{Buf, BufMut, BytesMut};

use super::Code;
use super::error::Malformed;
use super::fields::{count, put_count};

/// A new lifetime for one interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewItem {
    pub interest: u64,
    /// From now on; 0: no limit.
    pub lifetime_ms: u32,
}

pub(super) fn put_unregister(out: &mut BytesMut, interests: &[u64]) {
    put_count(out, interests.len());
    interests.iter().for_each(|interest| out.put_u64_le(*interest));
}

pub(super) fn get_unregister(body: &mut &[u8]) -> Result<Vec<u64>, Malformed> {
    let count = count(body, 8)?;
    (0..count).map(|_| Ok(body.try_get_u64_le()?)).collect()
}

pub(super) fn put_renew(out: &mut BytesMut, items: &[RenewItem]) {
    put_count(out, items.len());
    for item in items {
        out.put_u64_le(item.interest);
        out.put_u32_le(item.lifetime_ms);
        out.put_u32_le(0);
    }
}

pub(super) fn get_renew(body: &mut &[u8]) -> Result<Vec<RenewItem>, Malformed> {
    let count = count(body, 16)?;
    let item = |body: &mut &[u8]| {
        let item = RenewItem { interest: body.try_get_u64_le()?, lifetime_ms: body.try_get_u32_le()? };
        body.try_get_u32_le()?;
        Ok(item)
    };
    (0..count).map(|_| item(body)).collect()
}

pub(super) fn put_codes(out: &mut BytesMut, codes: &[Code]) {
    put_count(out, codes.len());
    codes.iter().for_each(|code| out.put_u16_le((*code).into()));
}

pub(super) fn get_codes(body: &mut &[u8]) -> Result<Vec<Code>, Malformed> {
    let count = count(body, 2)?;
    (0..count).map(|_| Ok(Code::from(body.try_get_u16_le()?))).collect()
}
