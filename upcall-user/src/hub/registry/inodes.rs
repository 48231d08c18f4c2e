//! Watched inodes by slot: what the slots themselves do not say of them.

use std::num::NonZeroU32;

use super::interests::List;
use crate::sys::handle::{FileHandle, HandleBytes};

/// How an inode can be opened again: tells a deleted one from one that only left the cache. Packed: there may be
/// millions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// One more than the index of the export, so that none has a value of its own.
    export: NonZeroU32,
    handle_type: i32,
    handle: HandleBytes,
}

impl Origin {
    /// `export`: index of the one that it lies in.
    pub fn new(export: usize, handle: FileHandle) -> Self {
        let export = NonZeroU32::MIN.saturating_add(u32::try_from(export).unwrap_or(u32::MAX));
        Self { export, handle_type: handle.handle_type, handle: handle.bytes }
    }

    pub fn export(&self) -> usize {
        self.export.get() as usize - 1
    }

    pub fn handle(&self) -> FileHandle {
        FileHandle { handle_type: self.handle_type, bytes: self.handle.clone() }
    }
}

/// An inode that somebody is interested in.
#[derive(Debug)]
pub struct Watched {
    pub origin: Option<Origin>,
    /// Version at the last take: tells how many marks a take covers.
    pub(super) taken: u64,
    pub(super) interests: List,
    /// Found by its key.
    pub(super) attached: bool,
    /// The inode had a link when it was last looked at.
    pub linked: bool,
    /// An inode of an overlay.
    pub overlay: bool,
}

/// There may be millions.
const _: () = assert!(size_of::<Option<Watched>>() <= 48);

/// All watched inodes.
#[derive(Debug, Default)]
pub(super) struct Inodes {
    /// By slot.
    watched: Vec<Option<Watched>>,
    count: usize,
}

impl Inodes {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Watched> {
        self.watched.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Watched> {
        self.watched.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, slot: u32, watched: Watched) {
        let slot = slot as usize;
        if slot >= self.watched.len() {
            self.watched.resize_with(slot + 1, || None);
        }
        if self.watched[slot].replace(watched).is_none() {
            self.count += 1;
        }
    }

    pub(super) fn remove(&mut self, slot: u32) {
        if self.watched.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_it_was_made_of() {
        let handle = FileHandle { handle_type: -1, bytes: HandleBytes::from_slice(&[7; 20]) };
        let origin = Origin::new(0, handle.clone());
        assert_eq!((origin.export(), origin.handle()), (0, handle));
    }
}
