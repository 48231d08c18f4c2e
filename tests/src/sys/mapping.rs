//! Shared mappings of files.

use std::{fs::File, io, os::fd::AsRawFd};

use memmap2::MmapMut;

use super::checked;

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

/// Writes what is dirty to the disk, as the kernel does by itself after a while.
pub(crate) fn write_back(file: &File) -> io::Result<()> {
    const NOW: libc::c_uint =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: only numbers are passed.
    checked(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, NOW) }.into())
}
