//! Load: another file, written as fast as can be.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Result;

/// A thread that writes; ends when dropped.
pub(super) struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storm {
    pub(super) fn start(root: &Path) -> Result<Self> {
        let file = File::create(root.join("storm"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let write = move || while !stopped.load(Ordering::Relaxed) && file.write_at(&[1; 64], 0).is_ok() {};
        Ok(Self { stop, thread: Some(thread::spawn(write)) })
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
