//! The processes of a run, each of which reports in lines of JSON.

use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{deadline::wait_within, helper::myself};

/// What a process is told when it starts.
pub(crate) trait Posting: Serialize {
    /// What it says.
    type Report: DeserializeOwned + Send + 'static;
    /// The argument that makes the test program such a process.
    const ROLE: &'static str;

    /// No two of a crew have the same.
    fn name(&self) -> String;
}

#[derive(Debug)]
pub(crate) struct Crew<P: Posting> {
    members: Vec<Member<P>>,
    said: Sender<P::Report>,
    pub(crate) reports: Receiver<P::Report>,
}

/// Killed when dropped.
#[derive(Debug)]
struct Member<P> {
    post: P,
    process: Process,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Process(Child);

impl<P: Posting> Crew<P> {
    pub(crate) fn new() -> Self {
        let (said, reports) = mpsc::channel();
        Self { members: Vec::new(), said, reports }
    }

    pub(crate) fn start(&mut self, post: P) -> Result<()> {
        let member = Member::start(post, self.said.clone())?;
        self.members.push(member);
        Ok(())
    }

    pub(crate) fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let member = self.place(name)?;
        Ok(kill(Pid::from_raw(self.members[member].process.0.id().try_into()?), signal)?)
    }

    /// Kills one. It is dead when this returns.
    pub(crate) fn kill(&mut self, name: &str) -> Result<P> {
        let place = self.place(name)?;
        Ok(self.members.remove(place).post)
    }

    /// That nobody has ended.
    pub(crate) fn lives(&mut self) -> Result<()> {
        for Member { post, process, .. } in &mut self.members {
            let ended = process.0.try_wait()?;
            ensure!(ended.is_none(), "{} ended: {ended:?}", post.name());
        }
        Ok(())
    }

    /// Waits until all have ended by themselves, each within so long.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<()> {
        for Member { post, process, reader } in &mut self.members {
            let name = post.name();
            let status = wait_within(limit, &format!("{name} to end"), || Ok(process.0.try_wait()?))?;
            ensure!(status.success(), "{name} ended with {status}");
            if let Some(reader) = reader.take() {
                ensure!(reader.join().is_ok(), "the reader of its reports has panicked");
            }
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Result<usize> {
        let place = self.members.iter().position(|member| member.post.name() == name);
        place.with_context(|| format!("there is no {name}"))
    }
}

impl<P: Posting> Member<P> {
    fn start(post: P, said: Sender<P::Report>) -> Result<Self> {
        let text = serde_json::to_string(&post)?;
        let mut child = myself(P::ROLE).arg(text).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("it has no output")?;
        let reader = thread::spawn(move || {
            // The last line of one that is killed may be no report.
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for report in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                if said.send(report).is_err() {
                    return;
                }
            }
        });
        Ok(Self { post, process: Process(child), reader: Some(reader) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says a report, from a process of a crew.
pub(crate) fn say(report: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(report)?)?;
    out.flush()
}
