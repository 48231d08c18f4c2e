//! A thread that reads what a peer tells.

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

use super::{Tool, fanotify, fatrace, inotify, process::Process, watchman};

/// Stopped when dropped.
#[derive(Debug)]
pub struct Reader {
    stop: Arc<AtomicBool>,
    end: End,
    thread: Option<JoinHandle<()>>,
}

/// What wakes the thread for the last time.
#[derive(Debug)]
enum End {
    /// A change of this file.
    Change(PathBuf),
    /// The end of this process.
    Process(Option<Process>),
}

impl Reader {
    /// Watches files by inotify; `hear` gets the moment after each read, and how many events it brought.
    pub fn inotify(paths: &[PathBuf], hear: impl FnMut(Instant, usize) + Send + 'static) -> Result<Self> {
        let end = End::Change(paths.first().cloned().unwrap_or_default());
        Ok(Self::start(inotify::watch_all(paths)?, inotify::count, end, hear))
    }

    /// Marks the whole filesystem of the file `path`.
    pub fn fanotify(path: &Path, hear: impl FnMut(Instant, usize) + Send + 'static) -> Result<Self> {
        let end = End::Change(path.to_owned());
        Ok(Self::start(fanotify::mark_filesystem(path)?, fanotify::count, end, hear))
    }

    /// Starts a program that tells of the file `path`, in lines.
    pub fn tool(tool: Tool, path: &Path, hear: impl FnMut(Instant, usize) + Send + 'static) -> Result<Self> {
        let (process, lines) = match tool {
            Tool::Fatrace => fatrace::start(path)?,
            Tool::Watchman => watchman::start(path)?,
        };
        Ok(Self::start(lines, count_lines, End::Process(Some(process)), hear))
    }

    fn start(
        events: OwnedFd,
        count: fn(&[u8]) -> usize,
        end: End,
        mut hear: impl FnMut(Instant, usize) + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = read(events.as_fd(), &mut buffer) {
                let now = Instant::now();
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                match count(buffer.get(..length).unwrap_or_default()) {
                    // The rest of a line is to come.
                    0 => {}
                    count => hear(now, count),
                }
            }
        });
        Self { stop, end, thread: Some(thread) }
    }
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let woken = match &mut self.end {
            End::Change(path) => {
                File::options().write(true).open(path).and_then(|file| file.write_at(&[0], 0)).is_ok()
            }
            End::Process(process) => process.take().is_some(),
        };
        // Otherwise it would never end.
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_when_it_ends() {
        assert_eq!(count_lines(b"a b\nc\nd"), 2);
        assert_eq!(count_lines(b"d"), 0);
    }
}
