//! Swap files.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
};

use memmap2::MmapMut;

use super::checked;

const PAGES: usize = 16;
const PAGE: usize = 4096;

/// A swap file in use; no longer when dropped.
#[derive(Debug)]
pub(crate) struct Swap {
    file: CString,
    /// Memory to put out.
    memory: MmapMut,
}

impl Swap {
    /// Overwrites the file.
    pub(crate) fn on(path: &Path) -> io::Result<Self> {
        /// `SWAP_FLAG_PREFER` and the highest priority.
        const FIRST: libc::c_int = 0x8000 | 0x7fff;
        let file = File::options().write(true).open(path)?;
        // What mkswap(8) writes: the version, the number of the last page, and a magic word.
        let mut header = [0; PAGE * (PAGES + 1)];
        header[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
        header[1028..1032].copy_from_slice(&(PAGES as u32).to_ne_bytes());
        header[PAGE - 10..PAGE].copy_from_slice(b"SWAPSPACE2");
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
        // SAFETY: the path is NUL-terminated.
        checked(unsafe { libc::swapon(name.as_ptr(), FIRST) }.into())?;
        let mut memory = MmapMut::map_anon(PAGES / 2 * PAGE)?;
        memory.fill(b's');
        Ok(Self { file: name, memory })
    }

    /// Makes the kernel write memory to the file.
    pub(crate) fn page_out(&mut self) -> io::Result<()> {
        let (start, length) = (self.memory.as_mut_ptr().cast(), self.memory.len());
        // SAFETY: the range is one mapping, whose contents stay.
        checked(unsafe { libc::madvise(start, length, libc::MADV_PAGEOUT) }.into())
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        // SAFETY: the path is NUL-terminated. There is nobody to tell of a failure.
        let _ = unsafe { libc::swapoff(self.file.as_ptr()) };
    }
}
