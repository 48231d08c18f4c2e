//! `upcall lock`: holds a byte-range lock.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use upcall_client::{Access, LockKind, LockRequest, OpenRequest};

use super::command::Term;
use super::hold::hold;
use super::holder::{Holder, lease_id};
use crate::cli::{ConnectArgs, absolute};

#[derive(Debug, Args)]
pub(in crate::cli) struct LockArgs {
    /// File, beneath an export
    file: PathBuf,
    /// A read lock, which others may hold too; else a write lock
    #[arg(long)]
    read: bool,
    /// Bytes to lock; length 0: to the end of the file
    #[arg(long, value_name = "START:LENGTH", default_value = "0:0", value_parser = range)]
    range: (u64, u64),
    /// Wait until nothing is in the way
    #[arg(long)]
    wait: bool,
    /// Lock also where the kernel cannot hold local processes to it
    #[arg(long)]
    advisory: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    /// Runs while the lock is held; without one it is held until a signal
    #[arg(last = true)]
    command: Vec<OsString>,
}

fn range(text: &str) -> Result<(u64, u64)> {
    let (start, length) = text.split_once(':').context("write START:LENGTH, in bytes")?;
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{text}` is no number"));
    let (start, length) = (number(start)?, number(length)?);
    if length.checked_sub(1).is_some_and(|more| start.checked_add(more).is_none()) {
        bail!("it ends beyond 2^64: use a length of 0 for the rest of the file");
    }
    Ok((start, length))
}

pub(in crate::cli) async fn run(args: LockArgs) -> Result<ExitCode> {
    let path = absolute(&args.file)?;
    let (kind, access) =
        if args.read { (LockKind::Read, Access::Read) } else { (LockKind::Write, Access::Both) };
    let (start, length) = args.range;
    let mut term = Term::begin()?;
    let mut holder = Holder::begin(&args.connect, "upcall lock").await?;
    let wanted = OpenRequest::path(&path, 0).access(access).lease_id(lease_id()?);
    let wanted = wanted.advisory_ok(args.advisory).wait(args.wait);
    let cannot = || format!("cannot lock {}", path.display());
    let open = tokio::select! {
        opened = holder.open(wanted) => opened.with_context(cannot)?.open,
        code = term.asked() => return Ok(code),
    };
    let wanted = LockRequest::new(0, kind, start, length).wait(args.wait);
    let outcome = tokio::select! {
        outcome = holder.lock(open, wanted) => outcome.map_err(|error| Err(error.context(cannot()))),
        code = term.asked() => Err(Ok(code)),
    };
    let held = match outcome {
        Ok(held) => held,
        Err(ended) => {
            holder.give_up(open).await;
            return ended;
        }
    };
    let line = json!({"type": "locked", "path": path, "kind": kind.as_str(), "start": start, "length": length,
        "advisory": held.advisory});
    let advisory = if held.advisory { " (advisory)" } else { "" };
    let human = format!("{kind} lock of {} {start}:{length}{advisory}", path.display());
    hold(holder, term, open, &args.command, args.json, (line, human)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_numbers_that_end_somewhere() {
        let text = |text| range(text).ok();
        assert_eq!(text("7:0"), Some((7, 0)));
        assert_eq!(text("7:9"), Some((7, 9)));
        assert_eq!(text("18446744073709551615:1"), Some((u64::MAX, 1)));
        for wrong in ["", "7", "7:", ":7", "-1:1", "1:2:3", "18446744073709551615:2"] {
            assert_eq!(text(wrong), None, "{wrong}");
        }
    }
}
