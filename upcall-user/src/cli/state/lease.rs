//! `upcall watch --lease`: holds a lease.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::sync::mpsc;
use upcall_client::{Access, Keep, LeaseKind, Notice, OpenRequest, StateNotice};

use super::command::Term;
use super::holder::{Holder, lease_id};
use super::notice;
use super::voice::Voice;
use crate::cli::ConnectArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct LeaseArgs {
    /// Hold a lease of one file instead, and return it when it is recalled
    #[arg(long, value_enum, value_name = "KIND", conflicts_with_all = ["count", "mask", "own", "names"])]
    pub(in crate::cli) lease: Option<LeaseChoice>,
    /// Return a recalled lease only when a line on standard input says `return`; `extend` asks for more time
    #[arg(long, requires = "lease")]
    hold: bool,
    /// Lease also where the kernel cannot hold local processes to it
    #[arg(long, requires = "lease")]
    advisory: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum LeaseChoice {
    Read,
    Write,
}

impl From<LeaseChoice> for LeaseKind {
    fn from(choice: LeaseChoice) -> Self {
        match choice {
            LeaseChoice::Read => Self::Read,
            LeaseChoice::Write => Self::Write,
        }
    }
}

pub(in crate::cli) async fn run(
    kind: LeaseChoice,
    args: &LeaseArgs,
    path: &Path,
    connect: &ConnectArgs,
    json: bool,
) -> Result<ExitCode> {
    let kind = LeaseKind::from(kind);
    let access = match kind {
        LeaseKind::Read => Access::Read,
        LeaseKind::Write => Access::Both,
    };
    // Before anything is held: a signal must find us ready to return it.
    let term = Term::begin()?;
    let mut holder = Holder::begin(connect, "upcall watch").await?;
    let wanted = OpenRequest::path(path, 0).access(access).lease_id(lease_id()?).advisory_ok(args.advisory);
    let cannot = || format!("cannot lease {}", path.display());
    let open = holder.open(wanted).await.with_context(cannot)?.open;
    let held = match holder.state.lease(open, kind).await {
        Ok(held) => held,
        Err(error) => {
            holder.give_up(open).await;
            return Err(error).with_context(cannot);
        }
    };
    let voice = Voice { json, aside: false };
    let advisory = if held.advisory { " (advisory)" } else { "" };
    let line = json!({"type": "leased", "path": path, "kind": kind.as_str(), "advisory": held.advisory});
    voice.tell(&line, &format!("{kind} lease of {}{advisory}", path.display()))?;
    keep(holder, open, kind, args.hold, voice, term).await
}

/// Until the lease is returned or lost.
async fn keep(
    mut holder: Holder,
    open: u64,
    kind: LeaseKind,
    hold: bool,
    voice: Voice,
    mut term: Term,
) -> Result<ExitCode> {
    let mut lines = if hold { Some(lines()) } else { None };
    loop {
        tokio::select! {
            code = term.end() => {
                code?;
                break;
            }
            line = next(&mut lines) => match line.as_deref() {
                Some("return") => break,
                Some("extend") => extend(&holder, open, voice).await?,
                Some(_) => eprintln!("upcall: say `return` or `extend`"),
                None => lines = None,
            },
            notice = holder.upcalls.next() => {
                let notice = notice.context("the connection to the daemon is lost for good")?;
                if let Some((line, human)) = notice::line(&notice) {
                    voice.tell(&line, &human)?;
                }
                if let Some(why) = notice::lost(&notice) {
                    holder.give_up(open).await;
                    bail!("{why}");
                }
                if !hold && matches!(notice, Notice::State(StateNotice::Recall { .. })) {
                    break;
                }
            }
        }
    }
    holder.state.give_back(open, kind, Keep::None).await.context("cannot return the lease")?;
    holder.state.close(open).await.context("cannot close the file")?;
    voice.tell(&json!({"type": "returned", "kind": kind.as_str()}), &format!("{kind} lease returned"))?;
    Ok(ExitCode::SUCCESS)
}

/// That it is refused is no reason to end: the deadline stands.
async fn extend(holder: &Holder, open: u64, voice: Voice) -> Result<()> {
    match holder.state.extend(open).await {
        Ok(left) => {
            let line = json!({"type": "extended", "deadline_ms": left.as_millis()});
            voice.tell(&line, &format!("{} ms left", left.as_millis()))
        }
        Err(error) => {
            voice.tell(&json!({"type": "not_extended", "error": error.to_string()}), &error.to_string())
        }
    }
}

/// Standard input, line by line, read by a thread that nobody waits for.
fn lines() -> mpsc::Receiver<String> {
    let (out, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if out.blocking_send(line.trim().to_owned()).is_err() {
                return;
            }
        }
    });
    lines
}

/// `None`: there are no more.
async fn next(lines: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}
