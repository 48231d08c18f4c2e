//! What else tells of changes, as bare as can be: a thread that reads.

mod fanotify;
mod inotify;

use std::{
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::Result;
use nix::unistd::read;

pub use self::inotify::{allow, watch_all};

/// A thread that reads events; stopped when dropped.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    /// A change of it wakes the thread.
    nudge: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Watches files by inotify; `hear` gets the moment after each read, and how many events it brought.
    pub fn inotify(paths: &[PathBuf], hear: impl FnMut(Instant, usize) + Send + 'static) -> Result<Self> {
        let nudge = paths.first().cloned().unwrap_or_default();
        Ok(Self::start(watch_all(paths)?, inotify::count, nudge, hear))
    }

    /// Marks the whole filesystem of the file `path`.
    pub fn fanotify(path: &Path, hear: impl FnMut(Instant, usize) + Send + 'static) -> Result<Self> {
        Ok(Self::start(fanotify::mark_filesystem(path)?, fanotify::count, path.to_owned(), hear))
    }

    fn start(
        events: OwnedFd,
        count: fn(&[u8]) -> usize,
        nudge: PathBuf,
        mut hear: impl FnMut(Instant, usize) + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length) = read(events.as_fd(), &mut buffer) {
                let now = Instant::now();
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                hear(now, count(buffer.get(..length).unwrap_or_default()));
            }
        });
        Self { stop, nudge, thread: Some(thread) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let nudged =
            File::options().write(true).open(&self.nudge).and_then(|file| file.write_at(&[0], 0)).is_ok();
        // Without a nudge it would never end.
        if let Some(thread) = self.thread.take().filter(|_| nudged) {
            let _ = thread.join();
        }
    }
}
