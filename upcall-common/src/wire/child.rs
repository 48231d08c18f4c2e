//! Of which inode below a directory an upcall is: part of UPCALL.

use bytes::{Buf, BufMut, BytesMut};

use super::error::Malformed;
use super::fields::{bytes16, patch};
use super::{MAX_HANDLE, MAX_PATH};

const GONE: u16 = 1;
const APPEARED: u16 = 2;
const DIRECTORY: u16 = 4;
const OLD_PATH: u16 = 8;
const LINKS: u16 = 16;

/// What has become of a child, as far as the interest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was below the directory, and is.
    Stays,
    /// It is below the directory now, and was not.
    Appeared,
    /// It is not below the directory any more: removed, or moved elsewhere.
    Gone,
}

/// An inode below the directory of an interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildItem {
    pub fate: Fate,
    pub directory: bool,
    /// It has other names, of which nothing is said.
    pub links: bool,
    /// As `stat(2)` gives it on the storage host; 0: not known.
    pub ino: u64,
    /// As `name_to_handle_at` gives it on the storage host; without bytes it is not known.
    pub handle_type: i32,
    pub handle: Vec<u8>,
    /// From the directory; of what is gone, the last one known.
    pub path: Vec<u8>,
    /// Where it was below the directory before.
    pub old_path: Option<Vec<u8>>,
}

impl ChildItem {
    /// Bytes of one with empty fields, its length field included.
    const MIN_LEN: usize = 20;
    /// Bytes of the longest.
    pub(super) const MAX_LEN: usize = Self::MIN_LEN + MAX_HANDLE + MAX_PATH + 2 + MAX_PATH;

    /// Bytes of this one on the wire.
    pub(super) fn wire_len(&self) -> usize {
        let old_path = self.old_path.as_ref().map_or(0, |path| 2 + path.len());
        Self::MIN_LEN + self.handle.len() + self.path.len() + old_path
    }

    /// Whether an item may carry it.
    pub(super) fn fits(&self) -> bool {
        let paths = [Some(&self.path), self.old_path.as_ref()];
        self.handle.len() <= MAX_HANDLE && paths.into_iter().flatten().all(|path| path.len() <= MAX_PATH)
    }

    /// Appends one that [`ChildItem::fits`].
    pub(super) fn put(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u16_le(0);
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let fate = match self.fate {
            Fate::Stays => 0,
            Fate::Appeared => APPEARED,
            Fate::Gone => GONE,
        };
        out.put_u16_le(
            fate | flag(self.directory, DIRECTORY)
                | flag(self.old_path.is_some(), OLD_PATH)
                | flag(self.links, LINKS),
        );
        out.put_u64_le(self.ino);
        out.put_i32_le(self.handle_type);
        for field in [&self.handle, &self.path].into_iter().chain(&self.old_path) {
            // No field is longer than all of them may be.
            out.put_u16_le(field.len() as u16);
            out.put_slice(field);
        }
        let len = (out.len() - start - 2) as u16;
        patch(out, start, len.to_le_bytes());
    }

    pub(super) fn get(item: &mut &[u8]) -> Result<Self, Malformed> {
        let mut child = bytes16(item)?;
        let flags = child.try_get_u16_le()?;
        let fate = match (flags & GONE != 0, flags & APPEARED != 0) {
            (true, _) => Fate::Gone,
            (false, true) => Fate::Appeared,
            (false, false) => Fate::Stays,
        };
        let ino = child.try_get_u64_le()?;
        let handle_type = child.try_get_i32_le()?;
        let handle = bytes16(&mut child)?.to_vec();
        let path = bytes16(&mut child)?.to_vec();
        let old_path = if flags & OLD_PATH != 0 { Some(bytes16(&mut child)?.to_vec()) } else { None };
        let (directory, links) = (flags & DIRECTORY != 0, flags & LINKS != 0);
        let child = Self { fate, directory, links, ino, handle_type, handle, path, old_path };
        if !child.fits() {
            return Err(Malformed("a child's handle or path is too long"));
        }
        Ok(child)
    }
}
