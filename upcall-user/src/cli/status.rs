//! `upcall status`: the daemon's state.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::{ConnectArgs, absolute, state};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Print what clients hold instead: of a file, or everything
    #[arg(long, value_name = "PATH", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "without the option, without a path, with one")]
    state: Option<Option<PathBuf>>,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: StatusArgs) -> Result<()> {
    let (client, _upcalls) = args.connect.client("upcall status", false).await?;
    if let Some(path) = &args.state {
        let pages = client.query_state(path.as_deref().map(absolute).transpose()?).await?;
        let shown = state::join(&pages)?;
        let mut out = std::io::stdout().lock();
        match args.json {
            true => writeln!(out, "{shown}")?,
            false => state::shown(&mut out, &shown)?,
        }
        return Ok(());
    }
    let text = client.status().await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{text}")?;
        return Ok(());
    }
    let status: Value = serde_json::from_str(&text).context("the daemon's status is not JSON")?;
    let hub = &status["hub"];
    let (kernel, account) = (&hub["kernel"], &hub["account"]);
    writeln!(
        out,
        "source     {} ({} hooks, {} not at work)",
        plain(&status["source"]),
        len(&status["hooks"]),
        len(&status["lost"])
    )?;
    for lost in status["lost"].as_array().into_iter().flatten() {
        writeln!(out, "           without {}: {}", plain(&lost["hook"]), plain(&lost["why"]))?;
    }
    writeln!(out, "uptime     {} s", hub["uptime_seconds"])?;
    let takeover = if status["took_over"] == true { ", taken over from an earlier daemon" } else { "" };
    match status["pin"].as_str() {
        Some(pin) => writeln!(out, "pinned     {pin}{takeover}")?,
        None => writeln!(out, "pinned     no: after a restart clients resync")?,
    }
    for export in status["exports"].as_array().into_iter().flatten() {
        writeln!(out, "export     {}{}", plain(&export["path"]), held(export))?;
    }
    for export in status["exports_unavailable"].as_array().into_iter().flatten() {
        writeln!(out, "           not available: {}: {}", plain(&export["export"]), plain(&export["why"]))?;
    }
    writeln!(
        out,
        "slots      {} of {} used, {} wait for clients that are gone, {} not yet at rest, {} looked at now and then",
        hub["slots_used"], hub["slots"], hub["unclaimed"], hub["unsettled"], hub["resting"]
    )?;
    if hub["net_only"] != 0 {
        writeln!(
            out,
            "no hook    {} changes were seen by the safety net alone: please report",
            hub["net_only"]
        )?;
    }
    writeln!(
        out,
        "changes    {} seen by the kernel ({} joined one that still waited), {} told again or found by the daemon",
        kernel["marked"], kernel["coalesced"], hub["retold"]
    )?;
    writeln!(
        out,
        "upcalls    {} delivered, {} repeated; {} marks coalesced, {} suppressed",
        account["delivered"], account["repeated"], account["coalesced"], account["suppressed"]
    )?;
    writeln!(out, "scans      {} (ring full {} times)", hub["scans"], kernel["ring_full"])?;
    writeln!(out, "events     {} written, {} lost", kernel["events"], kernel["events_lost"])?;
    if status["state"].is_object() {
        writeln!(out, "state      {}", state::summary(&status["state"]))?;
    }
    for client in hub["clients"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "client     {} {} uid {} pid {}: {} interests, {} pending; marked {} = delivered {} + coalesced {} + suppressed {}; repeated {}",
            plain(&client["address"]),
            plain(&client["name"]),
            client["uid"],
            client["pid"],
            client["interests"],
            client["pending"],
            client["marked"],
            client["delivered"],
            client["coalesced"],
            client["suppressed"],
            client["repeated"],
        )?;
    }
    Ok(())
}

/// What clients may hold there.
fn held(export: &Value) -> String {
    let on: Vec<&str> =
        ["leases", "shares", "locks"].into_iter().filter(|what| export[what] == true).collect();
    if on.is_empty() { String::new() } else { format!(" ({})", on.join(", ")) }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}
