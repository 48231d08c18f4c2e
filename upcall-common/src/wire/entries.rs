//! Names of directory entries that have changed: part of UPCALL.

use bytes::{Buf, BufMut, BytesMut};

use super::error::Malformed;
use super::fields::{bytes16, patch};
use super::numbered::numbered;
use super::{MAX_ENTRY_BYTES, MAX_ENTRY_NAMES, MAX_HANDLE};

const DIRECTORY: u16 = 1;
const NEW_NAME: u16 = 2;

numbered! {
    /// What happened to an entry.
    pub enum EntryKind {
        Created = 1, "created", "the name was made, for a new child or for one that had other names";
        Removed = 2, "removed", "the name was taken away";
        Renamed = 3, "renamed", "the name became new_name, within this directory; whatever had new_name has it no longer";
        MovedIn = 4, "moved_in", "the child came from another directory, under this name; whatever had the name has it no longer";
        MovedOut = 5, "moved_out", "the child went to another directory, and this name with it";
        Changed = 6, "changed", "the name was made and taken away, in an order that is not known";
    }
}

/// A changed entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryName {
    pub kind: EntryKind,
    /// The child is a directory.
    pub directory: bool,
    /// The child's identity, as `name_to_handle_at` gives it on the storage host; without bytes it is not known.
    pub handle_type: i32,
    pub handle: Vec<u8>,
    pub name: Vec<u8>,
    /// Only with [`EntryKind::Renamed`].
    pub new_name: Option<Vec<u8>>,
}

impl EntryName {
    /// Bytes of an entry with empty fields, its length field included.
    const MIN_LEN: usize = 14;

    /// Bytes of this entry on the wire.
    pub fn wire_len(&self) -> usize {
        let new_name = self.new_name.as_ref().map_or(0, |name| 2 + name.len());
        Self::MIN_LEN + self.handle.len() + self.name.len() + new_name
    }

    fn put(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_u16_le(0);
        out.put_u16_le(self.kind.into());
        let new_name = if self.new_name.is_some() { NEW_NAME } else { 0 };
        out.put_u16_le(new_name | if self.directory { DIRECTORY } else { 0 });
        out.put_i32_le(self.handle_type);
        for field in [&self.handle, &self.name].into_iter().chain(&self.new_name) {
            // No field is longer than all of them may be.
            out.put_u16_le(field.len() as u16);
            out.put_slice(field);
        }
        let len = (out.len() - start - 2) as u16;
        patch(out, start, len.to_le_bytes());
    }

    fn get(block: &mut &[u8]) -> Result<Self, Malformed> {
        let mut entry = bytes16(block)?;
        let kind = EntryKind::from(entry.try_get_u16_le()?);
        let flags = entry.try_get_u16_le()?;
        let handle_type = entry.try_get_i32_le()?;
        let handle = bytes16(&mut entry)?;
        if handle.len() > MAX_HANDLE {
            return Err(Malformed("a file handle is longer than 128 bytes"));
        }
        let name = bytes16(&mut entry)?.to_vec();
        let new_name = if flags & NEW_NAME != 0 { Some(bytes16(&mut entry)?.to_vec()) } else { None };
        let directory = flags & DIRECTORY != 0;
        Ok(Self { kind, directory, handle_type, handle: handle.to_vec(), name, new_name })
    }
}

/// Whether an item may carry all these.
pub(super) fn fit(entries: &[EntryName]) -> bool {
    entries.len() <= MAX_ENTRY_NAMES
        && entries.iter().all(|entry| entry.handle.len() <= MAX_HANDLE)
        && entries.iter().map(EntryName::wire_len).sum::<usize>() <= MAX_ENTRY_BYTES
}

/// Bytes of the block that [`put`] makes.
pub(super) fn block_len(entries: &[EntryName]) -> usize {
    2 + entries.iter().map(EntryName::wire_len).sum::<usize>()
}

/// Appends entries that [`fit`].
pub(super) fn put(out: &mut BytesMut, entries: &[EntryName]) {
    out.put_u16_le(entries.len() as u16);
    entries.iter().for_each(|entry| entry.put(out));
}

pub(super) fn get(item: &mut &[u8]) -> Result<Vec<EntryName>, Malformed> {
    let count = usize::from(item.try_get_u16_le()?);
    if count > item.len() / EntryName::MIN_LEN {
        return Err(Malformed("it has fewer entries than it announces"));
    }
    (0..count).map(|_| EntryName::get(item)).collect()
}
