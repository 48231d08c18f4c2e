//! From a local process's `open` to the recall in the hands of the client that holds the lease; beside it, to the
//! signal that a program reads which holds the kernel's lease itself.

use std::{
    fs::File,
    path::Path,
    thread::{self, JoinHandle},
    time::Instant,
};

use ::tests::{WriteLease, listener::block_on};
use anyhow::{Context, Result, anyhow, bail};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};
use upcall_client::{Keep, LeaseKind, Notice, StateNotice};

use crate::{
    arena::{self, Arena},
    holder::{self, Holder},
    report::{Figure, Target},
    scale::Scale,
    stats::Quantile,
};

const PEER: &str = "F_SETLEASE, signalfd";

pub fn run(arena: &Arena, scale: &Scale) -> Result<()> {
    let daemon = holder::daemon(&arena.tmpfs)?;
    let paths = arena::files(&arena.tmpfs, "recall", 2)?;
    let [path, other] = paths.as_slice() else { bail!("no files") };
    let mut bare = Bare::new()?;
    let (mut took, mut peer) = (Vec::new(), Vec::new());
    block_on(async {
        let mut holder = Holder::connect(&daemon).await?;
        for _ in 0..scale.recall_rounds {
            took.push(round(&mut holder, path).await?);
            peer.push(bare.round(other)?);
        }
        Ok(())
    })?;
    for (quantile, target) in [(Quantile::MEDIAN, Target::AtMost(100.0)), (Quantile::P99, Target::None)] {
        if let Some((time, peer)) = quantile.of(&took).zip(quantile.of(&peer)) {
            let name = format!("open() to RECALL, {}", quantile.name);
            Figure::beside(name, "us", time, (PEER, peer), target).print()?;
        }
    }
    Ok(())
}

/// Microseconds.
async fn round(holder: &mut Holder, path: &Path) -> Result<f64> {
    let open = holder.lease(path).await?;
    let opener = Opener::start(path);
    let recalled = loop {
        let notice = holder.upcalls.next().await.context("the client has stopped")?;
        if matches!(notice, Notice::State(StateNotice::Recall { .. })) {
            break Instant::now();
        }
    };
    holder.state.give_back(open, LeaseKind::Write, Keep::None).await?;
    let took = opener.until(recalled)?;
    holder.state.close(open).await?;
    Ok(took)
}

/// Holds leases itself.
struct Bare {
    signals: SignalFd,
}

impl Bare {
    /// In the thread that goes on to use it.
    fn new() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGIO);
        set.thread_block()?;
        Ok(Self { signals: SignalFd::new(&set)? })
    }

    /// Microseconds.
    fn round(&mut self, path: &Path) -> Result<f64> {
        let lease = WriteLease::take(path)?;
        let opener = Opener::start(path);
        self.signals.read_signal()?.context("no signal")?;
        let told = Instant::now();
        drop(lease);
        opener.until(told)
    }
}

/// A local process, in the form of a thread.
struct Opener(JoinHandle<std::io::Result<Instant>>);

impl Opener {
    fn start(path: &Path) -> Self {
        let path = path.to_owned();
        Self(thread::spawn(move || {
            let start = Instant::now();
            File::open(path).map(|_| start)
        }))
    }

    /// Microseconds from the start of its `open`, which must succeed.
    fn until(self, told: Instant) -> Result<f64> {
        let start = self.0.join().map_err(|_| anyhow!("the opener failed"))??;
        Ok(told.duration_since(start).as_secs_f64() * 1e6)
    }
}
