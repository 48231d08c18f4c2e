//! `upcall share`: holds a share reservation.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use upcall_client::{Access, Deny, OpenRequest};

use super::command::Term;
use super::hold::hold;
use super::holder::{Holder, lease_id};
use crate::cli::{ConnectArgs, absolute};

#[derive(Debug, Args)]
pub(in crate::cli) struct ShareArgs {
    /// File, beneath an export
    file: PathBuf,
    /// What to open it for
    #[arg(long, value_enum)]
    access: AccessChoice,
    /// What the others may not open it for
    #[arg(long, value_enum)]
    deny: DenyChoice,
    /// Wait while a lease is in the way
    #[arg(long)]
    wait: bool,
    /// Open also where the kernel cannot hold local processes to it
    #[arg(long)]
    advisory: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Runs while the file is open; without one it is open until a signal
    #[arg(last = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AccessChoice {
    R,
    W,
    Rw,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DenyChoice {
    R,
    W,
    Rw,
    None,
}

impl From<AccessChoice> for Access {
    fn from(choice: AccessChoice) -> Self {
        match choice {
            AccessChoice::R => Self::Read,
            AccessChoice::W => Self::Write,
            AccessChoice::Rw => Self::Both,
        }
    }
}

impl From<DenyChoice> for Deny {
    fn from(choice: DenyChoice) -> Self {
        match choice {
            DenyChoice::R => Self::Read,
            DenyChoice::W => Self::Write,
            DenyChoice::Rw => Self::Both,
            DenyChoice::None => Self::None,
        }
    }
}

pub(in crate::cli) async fn run(args: ShareArgs) -> Result<ExitCode> {
    let path = absolute(&args.file)?;
    let (access, deny) = (Access::from(args.access), Deny::from(args.deny));
    let mut term = Term::begin()?;
    let mut holder = Holder::begin(&args.connect, "upcall share").await?;
    let wanted = OpenRequest::path(&path, 0).access(access).deny(deny).lease_id(lease_id()?);
    let wanted = wanted.advisory_ok(args.advisory).wait(args.wait);
    let opened = tokio::select! {
        opened = holder.open(wanted) => opened.with_context(|| format!("cannot open {}", path.display()))?,
        code = term.asked() => return Ok(code),
    };
    let line = json!({"type": "opened", "path": path, "access": access.as_str(), "deny": deny.as_str(),
        "advisory": opened.advisory});
    let advisory = if opened.advisory { " (advisory)" } else { "" };
    let human = format!("{} open: access {access}, deny {deny}{advisory}", path.display());
    hold(holder, term, opened.open, &args.command, args.json, (line, human)).await
}
