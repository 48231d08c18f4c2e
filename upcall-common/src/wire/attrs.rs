//! Attributes of an inode, as they travel with registrations and upcalls.

use bytes::{Buf, BufMut, BytesMut};

use super::error::Malformed;
pub use crate::abi::Attrs;

impl Attrs {
    /// Bytes on the wire.
    pub const LEN: usize = 48;

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u64_le(self.size);
        out.put_i64_le(self.mtime_sec);
        out.put_i64_le(self.ctime_sec);
        for word in [self.mtime_nsec, self.ctime_nsec, self.mode, self.uid, self.gid, self.nlink] {
            out.put_u32_le(word);
        }
    }

    pub(super) fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            size: body.try_get_u64_le()?,
            mtime_sec: body.try_get_i64_le()?,
            ctime_sec: body.try_get_i64_le()?,
            mtime_nsec: body.try_get_u32_le()?,
            ctime_nsec: body.try_get_u32_le()?,
            mode: body.try_get_u32_le()?,
            uid: body.try_get_u32_le()?,
            gid: body.try_get_u32_le()?,
            nlink: body.try_get_u32_le()?,
        })
    }
}
