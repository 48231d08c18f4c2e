//! From the start of a write to the upcall in the client's hands.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tests::{daemon::Daemon, deadline::patience};
use upcall_client::Address;

use crate::{
    Scale,
    arena::{self, Arena},
    bare, library,
    library::Library,
    peers::Reader,
    report::{Figure, Target, curve},
    stats::{distribution, quantile},
};

/// Longer than a change takes to settle, so that each write is a change of its own.
const APART: Duration = Duration::from_millis(16);

const SUBJECTS: [&str; 6] = ["library, Unix", "library, TCP", "bare, Unix", "bare, TCP", INOTIFY, "fanotify"];
const INOTIFY: &str = "inotify";

/// Somebody who hears of one file.
struct Subject {
    name: &'static str,
    file: File,
    heard: Receiver<Instant>,
    took: Vec<f64>,
}

impl Subject {
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

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let daemon = Daemon::start(&arena.exports(), "")?;
    let paths = arena::files(&arena.tmpfs, "latency", SUBJECTS.len())?;
    let aside = arena::files(&arena.aside, "latency", 1)?;
    for loaded in [false, true] {
        let storm = if loaded { Some(Storm::start(&arena.tmpfs)?) } else { None };
        let (mut subjects, _kept) = subjects(&daemon, &paths, aside.first().context("no file")?)?;
        let pause = APART / u32::try_from(subjects.len())?;
        for _ in 0..scale.latency_rounds {
            for subject in &mut subjects {
                subject.sample()?;
                thread::sleep(pause);
            }
        }
        drop(storm);
        tell(&subjects, if loaded { "loaded" } else { "idle" })?;
    }
    Ok(())
}

type Kept = (Vec<Library>, Vec<Reader>);

fn subjects(daemon: &Daemon, paths: &[PathBuf], aside: &Path) -> Result<(Vec<Subject>, Kept)> {
    let (mut libraries, mut readers, mut subjects) = (Vec::new(), Vec::new(), Vec::new());
    for (name, path) in SUBJECTS.into_iter().zip(paths) {
        let path = if name == "fanotify" { aside } else { path };
        let (hear, heard) = mpsc::channel();
        let file = File::options().write(true).open(path)?;
        match name {
            "library, Unix" => libraries.push(library(&daemon.unix(), path, hear)?),
            "library, TCP" => libraries.push(library(&daemon.tcp(), path, hear)?),
            "bare, Unix" => bare::start(&daemon.unix(), path, send(hear))?,
            "bare, TCP" => bare::start(&daemon.tcp(), path, send(hear))?,
            INOTIFY => readers.push(Reader::inotify(&[path.to_owned()], first(hear))?),
            _ => readers.push(Reader::fanotify(path, first(hear))?),
        }
        subjects.push(Subject { name, file, heard, took: Vec::new() });
    }
    Ok((subjects, (libraries, readers)))
}

fn library(address: &Address, path: &Path, hear: Sender<Instant>) -> Result<Library> {
    let mut hear = send(hear);
    Library::start(address, library::watches(&[path.to_owned()]), move |now, _| hear(now))
}

/// Nobody hears it any more when the measure is over.
fn send(hear: Sender<Instant>) -> impl FnMut(Instant) + Send + 'static {
    move |now| {
        let _ = hear.send(now);
    }
}

fn first(hear: Sender<Instant>) -> impl FnMut(Instant, usize) + Send + 'static {
    move |now, _| {
        let _ = hear.send(now);
    }
}

fn tell(subjects: &[Subject], state: &str) -> Result<()> {
    let inotify = subjects.iter().find(|subject| subject.name == INOTIFY).context("no peer")?;
    for subject in subjects {
        curve(&format!("latency-{state}"), subject.name, &distribution(&subject.took))?;
        if subject.name == INOTIFY {
            continue;
        }
        for (quantile_name, share, most) in [("p50", 0.5, 2.5), ("p99", 0.99, 2.0), ("p99.9", 0.999, 0.0)] {
            let judged = subject.name.starts_with("library") && most > 0.0;
            let target = if judged { Target::RatioAtMost(most) } else { Target::None };
            let name = format!("latency {state}, {}, {quantile_name}", subject.name);
            let peer = (INOTIFY, quantile(&inotify.took, share));
            Figure::beside(name, "us", quantile(&subject.took, share), peer, target).print()?;
        }
    }
    Ok(())
}

/// A thread that writes another file as fast as it can; ends when dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Storm {
    fn start(root: &Path) -> Result<Self> {
        let file = File::create(root.join("storm"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            thread::spawn(
                move || {
                    while !stopped.load(Ordering::Relaxed) && file.write_at(&[1; 64], 0).is_ok() {}
                },
            );
        Ok(Self { stop, thread: Some(thread) })
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
