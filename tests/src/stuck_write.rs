//! A write that gets stuck in the middle, with the inode's lock held, for as long as one likes.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::sys::missing::Missing;

pub(crate) struct StuckWrite {
    memory: Arc<Missing>,
    writer: JoinHandle<io::Result<()>>,
}

impl StuckWrite {
    /// Overwrites the start of a file, and returns once the write is stuck.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let file = File::options().write(true).open(path)?;
        let memory = Arc::new(Missing::new(b'z')?);
        let bytes = Arc::clone(&memory);
        let writer = thread::spawn(move || file.write_all_at(bytes.bytes(), 0));
        memory.touched()?;
        Ok(Self { memory, writer })
    }

    /// Lets it go on and waits for its end.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.memory.provide()?;
        self.writer.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}
