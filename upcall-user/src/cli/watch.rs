//! `upcall watch`: registers, and prints upcalls as they come.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use upcall_client::{Attrs, EntryName, Names, Notice, Watch};
use upcall_common::change;

use super::{ConnectArgs, absolute, state};

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Files or directories, beneath an export
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
    /// End after so many upcalls
    #[arg(long)]
    count: Option<u64>,
    /// Changes to hear of, by name, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = change_bit)]
    mask: Vec<u32>,
    /// Hear of this process's own changes too
    #[arg(long)]
    own: bool,
    /// Of directories: print which entries have changed
    #[arg(long)]
    names: bool,
    #[command(flatten)]
    lease: state::LeaseArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn change_bit(name: &str) -> Result<u32> {
    change::by_name(name).with_context(|| {
        let known: Vec<_> = change::NAMES.iter().map(|(_, name)| *name).collect();
        format!("no such change; known are {}", known.join(", "))
    })
}

pub(super) async fn run(args: WatchArgs) -> Result<ExitCode> {
    let paths = args.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    if let Some(kind) = args.lease.lease {
        let [path] = &*paths else { bail!("a lease is of one file") };
        return state::lease(kind, &args.lease, path, &args.connect, args.json).await;
    }
    let mask = if args.mask.is_empty() {
        change::ANY | change::VOLATILE
    } else {
        args.mask.iter().fold(0, |all, bit| all | bit)
    };
    let (client, mut upcalls) = args.connect.client("upcall watch", true).await?;
    let watches = paths
        .iter()
        .zip(0..)
        .map(|(path, cookie)| Watch::path(path, cookie).mask(mask).include_own(args.own).names(args.names))
        .collect();
    for (path, made) in paths.iter().zip(client.register(watches).await?) {
        let made = made.map_err(|error| anyhow!("cannot watch {}: {error}", path.display()))?;
        let line = json!({"type": "registered", "path": path, "interest": made.interest, "version": made.version,
            "attrs": made.attrs.map(attrs)});
        print(args.json, &line, || format!("watching {} from version {}", path.display(), made.version))?;
    }
    let mut seen = 0;
    while args.count.is_none_or(|count| seen < count) {
        let Some(notice) = upcalls.next().await else {
            bail!("the connection to the daemon is lost for good")
        };
        seen += u64::from(matches!(notice, Notice::Upcall { .. }));
        show(args.json, &paths, &notice)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(as_json: bool, paths: &[PathBuf], notice: &Notice) -> Result<()> {
    let path = |cookie: &u64| usize::try_from(*cookie).ok().and_then(|place| paths.get(place));
    let name = |cookie: &u64| path(cookie).map_or_else(String::new, |path| path.display().to_string());
    match notice {
        Notice::Upcall { cookie, mask, version, attrs: new, ended, names, .. } => {
            let changes: Vec<_> = change::names(*mask).collect();
            let line = json!({"type": "upcall", "path": path(cookie), "cookie": cookie, "changes": changes,
                "version": version, "ended": ended, "attrs": new.map(attrs),
                "names": names.entries.iter().map(entry).collect::<Vec<_>>(), "names_incomplete": names.incomplete});
            print(as_json, &line, || {
                let size = new.map_or_else(String::new, |new| {
                    format!(" size {} mode {:o}", new.size, new.mode & 0o7777)
                });
                let end = if *ended { " (no longer watched)" } else { "" };
                let entries = entries(names);
                format!("{} {} version {version}{size}{end}{entries}", name(cookie), changes.join("|"))
            })
        }
        Notice::Changed { cookie, version, .. } => {
            let line = json!({"type": "changed", "path": path(cookie), "cookie": cookie, "version": version});
            print(as_json, &line, || format!("{} may have changed while disconnected", name(cookie)))
        }
        Notice::Resync { reason, text } => {
            let line = json!({"type": "resync", "reason": reason.as_str(), "text": text});
            print(as_json, &line, || format!("resync ({}): everything may have changed", reason.as_str()))
        }
        Notice::Lost { cookie, error, .. } => {
            let line =
                json!({"type": "lost", "path": path(cookie), "cookie": cookie, "error": error.to_string()});
            print(as_json, &line, || format!("{} is no longer watched: {error}", name(cookie)))
        }
        Notice::Disconnected { reason } => {
            let line = json!({"type": "disconnected", "reason": reason});
            print(as_json, &line, || format!("disconnected: {reason}"))
        }
        Notice::Reconnected => print(as_json, &json!({"type": "reconnected"}), || "reconnected".into()),
        _ => Ok(()),
    }
}

fn entry(entry: &EntryName) -> Value {
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let hex: String = entry.handle.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"kind": entry.kind.as_str(), "name": text(&entry.name), "new_name": entry.new_name.as_ref().map(text),
        "directory": entry.directory, "handle_type": entry.handle_type, "handle": hex})
}

/// For a person: a line for each.
fn entries(names: &Names) -> String {
    let mut lines = String::new();
    for EntryName { kind, name, new_name, .. } in &names.entries {
        let new_name =
            new_name.as_ref().map_or_else(String::new, |name| format!(" to {}", name.escape_ascii()));
        lines += &format!("\n    {kind} {}{new_name}", name.escape_ascii());
    }
    if names.incomplete {
        lines += "\n    names incomplete";
    }
    lines
}

fn attrs(attrs: Attrs) -> Value {
    let time = |sec: i64, nsec: u32| format!("{sec}.{nsec:09}");
    json!({"size": attrs.size, "mode": attrs.mode, "uid": attrs.uid, "gid": attrs.gid, "nlink": attrs.nlink,
        "mtime": time(attrs.mtime_sec, attrs.mtime_nsec), "ctime": time(attrs.ctime_sec, attrs.ctime_nsec)})
}

/// Flushed line by line: a pipe's reader wants each when it happens.
fn print(as_json: bool, line: &Value, human: impl FnOnce() -> String) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{line}")?
    } else {
        writeln!(out, "{}", human())?
    }
    Ok(out.flush()?)
}
