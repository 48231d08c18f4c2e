//! Fields of a body, one type each, so that a record's definition is its layout.

use bytes::{Buf, BufMut, BytesMut};

use crate::wire::error::{EncodeError, Malformed};
use crate::wire::fields::{put_text, string16};
use crate::wire::{Code, MAX_TEXT, Target};

/// Something with one place in a body.
pub(in crate::wire) trait Field: Sized {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError>;
    fn get(body: &mut &[u8]) -> Result<Self, Malformed>;
}

impl Field for () {
    fn put(&self, _: &mut BytesMut) -> Result<(), EncodeError> {
        Ok(())
    }

    fn get(_: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(())
    }
}

impl Field for u32 {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u32_le(*self);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(body.try_get_u32_le()?)
    }
}

impl Field for u64 {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u64_le(*self);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(body.try_get_u64_le()?)
    }
}

impl Field for Code {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_u16_le((*self).into());
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(body.try_get_u16_le()?.into())
    }
}

/// A text for a person, cut where it is longer than [`MAX_TEXT`].
impl Field for String {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        put_text(out, self, MAX_TEXT);
        Ok(())
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        string16(body)
    }
}

impl Field for Target {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        Self::put(self, out)
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        Self::get(body)
    }
}

/// Kind 0 is none.
impl Field for Option<Target> {
    fn put(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Some(target) => target.put(out),
            None => {
                out.put_u8(0);
                Ok(())
            }
        }
    }

    fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        match Target::get(body)? {
            Target::Unrecognised(0) => Ok(None),
            target => Ok(Some(target)),
        }
    }
}
