//! A client without any rights that holds a write lease, and writes by the description that it has passed for it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::FileExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use upcall_client::{Access, Grant, Identity, Keep, LeaseKind, Notice, OpenRequest, StateNotice};

use crate::{
    daemon::Daemon,
    helper::myself,
    listener::{Listener, block_on},
    sys::signalled,
};

pub(crate) const ROLE: &str = "--sharer";
const NOBODY: u32 = 65_534;

/// What it writes when it is recalled.
pub const WRITTEN: &[u8] = b"written back\n";

/// What it does with the description, to have the daemon killed by the break.
#[derive(Clone, Copy, Debug)]
pub enum Trick {
    None,
    /// Chooses `SIGKILL`, and leaves open for whom.
    Whoever,
    /// Chooses `SIGKILL` for the daemon, before the lease and once more after it.
    Daemon,
}

/// The client's process; ends when dropped.
#[derive(Debug)]
pub struct Sharer {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Sharer {
    /// Returns once it has the lease.
    pub fn start(daemon: &Daemon, file: &Path, trick: Trick) -> Result<Self> {
        let victim = match trick {
            Trick::None => String::from("none"),
            Trick::Whoever => String::from("whoever"),
            Trick::Daemon => daemon.pid().to_string(),
        };
        let mut child = myself(ROLE)
            .args([&daemon.unix().to_string(), &victim])
            .arg(file)
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(child.stdout.take().context("it has no output")?);
        let mut sharer = Self { child, said };
        sharer.says("leased")?;
        Ok(sharer)
    }

    /// Waits until it is recalled.
    pub fn recalled(&mut self) -> Result<()> {
        self.says("recalled")
    }

    /// Has it write back and return its lease.
    pub fn give_back(&mut self) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("it has no input")?)?;
        self.says("returned")
    }

    fn says(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(line.trim_end() == word, "the client said {line:?}, not {word}");
        Ok(())
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn play(address: &str, victim: &str, file: &Path) -> Result<()> {
    let address = address.parse()?;
    let written = File::options().read(true).write(true).open(file)?;
    let trick = || match victim {
        "none" => Ok(()),
        "whoever" => signalled::choose(&written, libc::SIGKILL, None),
        daemon => signalled::choose(&written, libc::SIGKILL, Some(daemon.parse().map_err(io::Error::other)?)),
    };
    block_on(async {
        let mut listener = Listener::connect(&address, "sharer").await?;
        let state = listener.client.begin_state(Identity(*b"a sharer, no. 01")).await?;
        tokio::time::sleep(state.begun().reclaim + Duration::from_millis(1)).await;
        trick()?;
        let request = OpenRequest::descriptor(written.try_clone()?, 1).access(Access::Both);
        let Grant::Granted(opened) = state.open(request).await? else { bail!("it waits") };
        let leased = state.lease(opened.open, LeaseKind::Write).await?;
        ensure!(!leased.advisory, "the kernel does not hold it");
        if victim != "whoever" {
            trick()?;
        }
        println!("leased");
        while !matches!(listener.next("a recall").await?, Notice::State(StateNotice::Recall { .. })) {}
        println!("recalled");
        io::stdin().read_line(&mut String::new())?;
        written.write_all_at(WRITTEN, 0)?;
        state.give_back(opened.open, LeaseKind::Write, Keep::None).await?;
        println!("returned");
        io::stdin().read_line(&mut String::new())?;
        Ok(())
    })
}
