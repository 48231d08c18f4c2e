//! A write that takes long.

use std::{
    fmt::{self, Display, Formatter},
    fs::File,
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    str::FromStr,
};

use memmap2::MmapMut;

use crate::sys::aio;

/// One system call, or one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Buffered,
    Direct,
    /// Direct, and completed by the kernel (Linux AIO).
    Queued,
}

const NAMES: [(Means, &str); 3] =
    [(Means::Buffered, "buffered"), (Means::Direct, "direct"), (Means::Queued, "queued")];

impl Display for Means {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NAMES.iter().filter(|(means, _)| means == self).try_for_each(|(_, name)| f.write_str(name))
    }
}

impl FromStr for Means {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let named = NAMES.iter().find(|(_, name)| *name == text);
        named.map(|(means, _)| *means).ok_or_else(|| io::Error::other("no such means"))
    }
}

/// Overwrites all of a file.
pub(crate) fn write(means: Means, path: &Path) -> io::Result<()> {
    let flags = if means == Means::Buffered { 0 } else { libc::O_DIRECT };
    let file = File::options().write(true).custom_flags(flags).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    // A mapping is aligned as direct I/O wants it.
    let mut bytes = MmapMut::map_anon(length)?;
    bytes.fill(b'z');
    match means {
        Means::Buffered | Means::Direct => {
            let written = file.write_at(&bytes, 0)?;
            if written < length { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
        }
        Means::Queued => aio::aio_write(&file, &bytes),
    }
}
