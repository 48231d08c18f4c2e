//! > A long write (hundreds of MB in one system call) and a slow direct write: no upcall is the last one before the
//! > data is visible.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use nix::errno::Errno;
use tests::{
    Result,
    deadline::{LOOK, in_vm, patience},
    filesystem::Filesystem,
    helper::Helper,
    listener::{Listener, block_on},
    long_write::Means,
    scene::Scene,
};
use tokio::time::{Instant, timeout};
use upcall_client::Watch;

use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.on_each("a_long_write_is_told_when_it_is_visible", |fs| case(fs, Means::Buffered));
    trials.on_each("a_slow_direct_write_is_told_when_it_is_visible", |fs| case(fs, Means::Direct));
    trials.on_each("a_slow_queued_write_is_told_when_it_is_visible", |fs| case(fs, Means::Queued));
}

const MIB: u64 = 1 << 20;

fn length(means: Means) -> u64 {
    match (means, in_vm()) {
        (Means::Buffered, false) => 256 * MIB,
        (Means::Direct | Means::Queued, false) => 64 * MIB,
        (_, true) => 8 * MIB,
    }
}

fn case(filesystem: &Filesystem, means: Means) -> Result<Completion> {
    let scene = Scene::within(&filesystem.root)?;
    let length = length(means);
    let file = prepare(&scene, length)?;
    let daemon = filesystem.daemon()?;
    let mut helper = Helper::start()?;
    let reader = Reader { file: File::open(&file)?, length };
    block_on(async {
        let mut operator = Listener::connect(&daemon.unix(), "operator").await?;
        let mut listener = Listener::connect(&daemon.unix(), "reader").await?;
        listener.watch(vec![Watch::path(&file, 1)]).await?;
        operator.rest().await?;
        listener.quiet().await?;
        helper.begin_long_write(means, &file)?;
        let mut writing = tokio::task::spawn_blocking(move || helper.answer());
        let mut seen = None;
        let outcome = loop {
            tokio::select! {
                biased;
                notice = listener.next("an upcall") => {
                    notice?;
                    seen = Some(reader.look()?);
                }
                outcome = &mut writing => break outcome??,
            }
        };
        if let Err(errno) = outcome {
            let error = Errno::from_raw(errno);
            // How open(2) says that a filesystem has no direct I/O: tmpfs before Linux 6.6.
            ensure!(error == Errno::EINVAL && means != Means::Buffered, "the kernel refused it: {error}");
            return Ok(Completion::ignored_with(format!("not supported: {error}")));
        }
        // Not by a barrier: that would be told of everything once more.
        let end = Instant::now() + patience();
        while !operator.is_settled().await? {
            ensure!(Instant::now() < end, "the daemon does not come to rest");
            while let Ok(notice) = timeout(LOOK, listener.next("an upcall")).await {
                notice?;
                seen = Some(reader.look()?);
            }
        }
        let before = listener.heard.len();
        listener.sync().await?;
        if listener.heard.len() > before {
            seen = Some(reader.look()?);
        }
        let seen = seen.context("there was no upcall")?;
        println!("{}: {} upcalls", filesystem.name, listener.heard.len());
        ensure!(
            seen.iter().all(|byte| *byte == b'z'),
            "a reader after the last upcall saw {} of {} parts as they were",
            seen.iter().filter(|byte| **byte != b'z').count(),
            seen.len()
        );
        Ok(Completion::Completed)
    })
}

/// A file whose blocks are there, so that a direct write changes nothing but them.
fn prepare(scene: &Scene, length: u64) -> Result<PathBuf> {
    let path = scene.file_with("file", &vec![b'a'; usize::try_from(length)?], 0o644)?;
    File::open(&path)?.sync_all()?;
    Ok(path)
}

struct Reader {
    file: File,
    length: u64,
}

impl Reader {
    /// A byte of each part of the file, the last one's too.
    fn look(&self) -> Result<Vec<u8>> {
        const PARTS: u64 = 64;
        let part = self.length / PARTS;
        (1..=PARTS)
            .map(|number| {
                let mut byte = [0];
                self.file.read_exact_at(&mut byte, number * part - 1)?;
                Ok(byte[0])
            })
            .collect()
    }
}
