//! Somebody who hears of one file.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tests::deadline::patience;
use upcall_client::Address;

use crate::{
    bare,
    library::{self, Library},
    peers::{Reader, Tool},
};

pub struct Subject {
    pub name: &'static str,
    file: File,
    heard: Receiver<Instant>,
    took: Vec<f64>,
    /// What makes it hear.
    _kept: Kept,
}

enum Kept {
    Library {
        _library: Library,
    },
    /// Until the daemon ends.
    Bare,
    Reader {
        _reader: Reader,
    },
}

impl Subject {
    /// A client that uses the library.
    pub fn library(name: &'static str, address: &Address, path: &Path) -> Result<Self> {
        Self::new(name, path, |hear| {
            let mut hear = send(hear);
            let watches = library::watches(&[path.to_owned()]);
            Ok(Kept::Library { _library: Library::start(address, watches, move |now, _| hear(now))? })
        })
    }

    /// A client by hand.
    pub fn bare(name: &'static str, address: &Address, path: &Path) -> Result<Self> {
        Self::new(name, path, |hear| bare::start(address, path, send(hear)).map(|()| Kept::Bare))
    }

    pub fn inotify(name: &'static str, path: &Path) -> Result<Self> {
        Self::reader(name, path, |hear| Reader::inotify(&[path.to_owned()], first(hear)))
    }

    /// Of the whole filesystem of `path`.
    pub fn fanotify(name: &'static str, path: &Path) -> Result<Self> {
        Self::reader(name, path, |hear| Reader::fanotify(path, first(hear)))
    }

    pub fn tool(tool: Tool, path: &Path) -> Result<Self> {
        Self::reader(tool.name(), path, |hear| Reader::tool(tool, path, first(hear)))
    }

    fn reader(
        name: &'static str,
        path: &Path,
        start: impl FnOnce(Sender<Instant>) -> Result<Reader>,
    ) -> Result<Self> {
        Self::new(name, path, |hear| Ok(Kept::Reader { _reader: start(hear)? }))
    }

    fn new(
        name: &'static str,
        path: &Path,
        start: impl FnOnce(Sender<Instant>) -> Result<Kept>,
    ) -> Result<Self> {
        let (hear, heard) = mpsc::channel();
        let file = File::options().write(true).open(path)?;
        Ok(Self { name, file, heard, took: Vec::new(), _kept: start(hear)? })
    }

    /// Begins anew.
    pub fn forget(&mut self) {
        self.took.clear();
    }

    fn sample(&mut self) -> Result<()> {
        // What came since the last time tells of the change before.
        while self.heard.try_recv().is_ok() {}
        let start = Instant::now();
        self.file.write_at(&[1; 64], 0)?;
        let heard =
            self.heard.recv_timeout(patience()).with_context(|| format!("{} is silent", self.name))?;
        self.took.push(heard.saturating_duration_since(start).as_secs_f64() * 1e6);
        Ok(())
    }
}

/// Takes turns: each writes once in each round, which takes `apart` or longer.
pub fn sample(subjects: &mut [Subject], rounds: u32, apart: Duration) -> Result<()> {
    let pause = apart / u32::try_from(subjects.len())?;
    for _ in 0..rounds {
        for subject in &mut *subjects {
            subject.sample()?;
            thread::sleep(pause);
        }
    }
    Ok(())
}

/// Microseconds, of all subjects of a name.
pub fn times(subjects: &[Subject], name: &str) -> Vec<f64> {
    let of_name = subjects.iter().filter(|subject| subject.name == name);
    of_name.flat_map(|subject| &subject.took).copied().collect()
}

/// Nobody hears it any more when the measure is over.
fn send(hear: Sender<Instant>) -> impl FnMut(Instant) + Send + 'static {
    move |now| {
        let _ = hear.send(now);
    }
}

fn first(hear: Sender<Instant>) -> impl FnMut(Instant, usize) + Send + 'static {
    let mut hear = send(hear);
    move |now, _| hear(now)
}
