//! The processes of a run.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    post::{Post, Role},
    report::Report,
};
use crate::{
    deadline::wait_for,
    helper::{COHERENCE, myself},
};

#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
    said: Sender<Report>,
    pub(crate) reports: Receiver<Report>,
}

/// Killed when dropped.
#[derive(Debug)]
struct Member {
    post: Post,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Crew {
    pub(crate) fn new() -> Self {
        let (said, reports) = mpsc::channel();
        Self { members: Vec::new(), said, reports }
    }

    pub(crate) fn start(&mut self, post: Post) -> Result<()> {
        let member = Member::start(post, self.said.clone())?;
        self.members.push(member);
        Ok(())
    }

    /// A client, by its number.
    pub(crate) fn signal(&self, client: usize, signal: Signal) -> Result<()> {
        let member = self.client(client)?;
        Ok(kill(Pid::from_raw(self.members[member].child.id().try_into()?), signal)?)
    }

    /// Kills a client and starts another in its place.
    pub(crate) fn replace(&mut self, client: usize) -> Result<()> {
        let place = self.client(client)?;
        let mut post = self.members[place].post.clone();
        post.life += 1;
        // The old one is dead before the new one begins.
        drop(self.members.remove(place));
        self.start(post)
    }

    /// That nobody has ended.
    pub(crate) fn lives(&mut self) -> Result<()> {
        for Member { post, child, .. } in &mut self.members {
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "{:?} {} ended: {ended:?}", post.role, post.index);
        }
        Ok(())
    }

    /// Waits until all have ended by themselves.
    pub(crate) fn finish(&mut self) -> Result<()> {
        for Member { post, child, reader } in &mut self.members {
            let what = format!("{:?} {} to end", post.role, post.index);
            let status = wait_for(&what, || Ok(child.try_wait()?))?;
            ensure!(status.success(), "{:?} {} ended with {status}", post.role, post.index);
            if let Some(reader) = reader.take() {
                ensure!(reader.join().is_ok(), "the reader of its reports has panicked");
            }
        }
        Ok(())
    }

    fn client(&self, index: usize) -> Result<usize> {
        let is_it = |member: &Member| member.post.role == Role::Client && member.post.index == index;
        self.members.iter().position(is_it).with_context(|| format!("there is no client {index}"))
    }
}

impl Member {
    fn start(post: Post, said: Sender<Report>) -> Result<Self> {
        let text = serde_json::to_string(&post)?;
        let mut child = myself(COHERENCE).arg(text).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
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
        Ok(Self { post, child, reader: Some(reader) })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
