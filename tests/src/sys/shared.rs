//! Words that processes share.

use std::{fs::File, io, sync::atomic::AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

/// A file's contents as words, shared with all who map it.
#[derive(Debug)]
pub(crate) struct SharedWords(MmapRaw);

impl SharedWords {
    /// Makes the file as long as it must be.
    pub(crate) fn map(file: &File, words: usize) -> io::Result<Self> {
        let bytes = words * size_of::<AtomicU64>();
        file.set_len(bytes.try_into().map_err(io::Error::other)?)?;
        Ok(Self(MmapOptions::new().len(bytes).map_raw(file)?))
    }

    pub(crate) fn words(&self) -> &[AtomicU64] {
        let length = self.0.len() / size_of::<AtomicU64>();
        // SAFETY: a mapping begins at a page, is as long as says `length` and lives as long as `self`; everybody who
        // maps the file makes it as long as that, and accesses it by atomic words alone.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), length) }
    }
}
