//! `upcall status`: the daemon's state.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use super::ConnectArgs;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// One JSON object on one line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: StatusArgs) -> Result<()> {
    let (client, _upcalls) = args.connect.client("upcall status", false).await?;
    let text = client.status().await?;
    if args.json {
        println!("{text}");
        return Ok(());
    }
    let status: Value = serde_json::from_str(&text).context("the daemon's status is not JSON")?;
    let hub = &status["hub"];
    let (kernel, account) = (&hub["kernel"], &hub["account"]);
    println!(
        "source     {} ({} hooks, {} not at work)",
        plain(&status["source"]),
        len(&status["hooks"]),
        len(&status["lost"])
    );
    for lost in status["lost"].as_array().into_iter().flatten() {
        println!("           without {}: {}", plain(&lost["hook"]), plain(&lost["why"]));
    }
    println!("uptime     {} s", hub["uptime_seconds"]);
    for export in status["exports"].as_array().into_iter().flatten() {
        println!("export     {}", plain(export));
    }
    println!("slots      {} of {} used, {} unsettled", hub["slots_used"], hub["slots"], hub["unsettled"]);
    println!(
        "marked     {} in the kernel ({} found the slot dirty), {} by the trailing edge",
        kernel["marked"], kernel["coalesced"], hub["retold"]
    );
    println!(
        "upcalls    {} delivered, {} marks coalesced, {} suppressed",
        account["delivered"], account["coalesced"], account["suppressed"]
    );
    println!("scans      {} (ring full {} times)", hub["scans"], kernel["ring_full"]);
    println!("events     {} written, {} lost", kernel["events"], kernel["events_lost"]);
    for client in hub["clients"].as_array().into_iter().flatten() {
        println!(
            "client     {} {} uid {} pid {}: {} interests, {} pending; marked {} = delivered {} + coalesced {} + suppressed {}",
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
        );
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}
