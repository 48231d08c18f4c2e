//! The first exchange: version and features.

use bytes::{Buf, BufMut, BytesMut};

use super::error::Malformed;
use super::fields::{put_text, string16, take};
use super::{MAGIC, MAX_NAME};

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub version_min: u16,
    pub version_max: u16,
    /// Features that the client can use.
    pub features: u64,
    /// Shown to operators.
    pub name: String,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both sides speak from now on.
    pub version: u16,
    /// Largest body that the daemon accepts.
    pub max_body: u32,
    /// Most items in a request.
    pub max_batch: u32,
    /// Features that both sides can use.
    pub features: u64,
    /// Versions of inodes are comparable only within one epoch.
    pub epoch: u64,
    pub server: String,
}

impl Hello {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_slice(&MAGIC);
        out.put_u16_le(self.version_min);
        out.put_u16_le(self.version_max);
        out.put_u64_le(self.features);
        put_text(out, &self.name, MAX_NAME);
    }

    pub(super) fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        if take(body, MAGIC.len())? != MAGIC {
            return Err(Malformed("it does not begin with UPCL"));
        }
        Ok(Self {
            version_min: body.try_get_u16_le()?,
            version_max: body.try_get_u16_le()?,
            features: body.try_get_u64_le()?,
            name: name(body)?,
        })
    }

    /// The newest version that both this client and a peer with `ours` speak.
    pub fn common_version(&self, ours: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let newest = self.version_max.min(*ours.end());
        (newest >= self.version_min && newest >= *ours.start()).then_some(newest)
    }
}

impl Welcome {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u16_le(self.version);
        out.put_u16_le(0);
        out.put_u32_le(self.max_body);
        out.put_u32_le(self.max_batch);
        out.put_u32_le(0);
        out.put_u64_le(self.features);
        out.put_u64_le(self.epoch);
        put_text(out, &self.server, MAX_NAME);
    }

    pub(super) fn get(body: &mut &[u8]) -> Result<Self, Malformed> {
        let version = body.try_get_u16_le()?;
        body.try_get_u16_le()?;
        let max_body = body.try_get_u32_le()?;
        let max_batch = body.try_get_u32_le()?;
        body.try_get_u32_le()?;
        Ok(Self {
            version,
            max_body,
            max_batch,
            features: body.try_get_u64_le()?,
            epoch: body.try_get_u64_le()?,
            server: name(body)?,
        })
    }
}

fn name(body: &mut &[u8]) -> Result<String, Malformed> {
    let name = string16(body)?;
    if name.len() > MAX_NAME {
        return Err(Malformed("a name is longer than 256 bytes"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_wins() {
        let hello =
            |version_min, version_max| Hello { version_min, version_max, features: 0, name: String::new() };
        assert_eq!(hello(1, 3).common_version(2..=5), Some(3));
        assert_eq!(hello(1, 9).common_version(2..=5), Some(5));
        assert_eq!(hello(1, 1).common_version(2..=5), None);
        assert_eq!(hello(6, 9).common_version(2..=5), None);
        assert_eq!(hello(4, 3).common_version(1..=5), None);
    }
}
