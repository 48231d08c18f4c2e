//! Shared mappings of files.

use std::{fs::File, io};

use memmap2::MmapMut;

const LENGTH: usize = 4096;

/// The first page of the file.
pub(crate) fn shared(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody makes a file of the tests shorter while it is mapped, and nobody relies on its bytes to stay.
    unsafe { memmap2::MmapOptions::new().len(LENGTH).map_mut(file) }
}

/// The first page of the file, which is dirty.
pub(crate) fn stored_to(file: &File) -> io::Result<MmapMut> {
    let mut mapping = shared(file)?;
    mapping[..8].copy_from_slice(b"earlier ");
    Ok(mapping)
}
