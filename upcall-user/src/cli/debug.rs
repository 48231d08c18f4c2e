//! `upcall debug`: every change as it happens.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, builder::PossibleValuesParser};
use serde_json::Value;
use upcall_common::abi::Op;

use super::ConnectArgs;
use crate::events::EventFilter;

#[derive(Debug, Args)]
pub(super) struct DebugArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Changes made by this process
    #[arg(long)]
    pid: Option<u32>,
    /// Changes made by processes of this name
    #[arg(long)]
    comm: Option<String>,
    /// Changes of files whose path begins so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Changes by this operation, such as write or chmod
    #[arg(long, value_parser = PossibleValuesParser::new(Op::ALL.iter().map(|op| op.name())))]
    op: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: DebugArgs) -> Result<()> {
    let filter = EventFilter { pid: args.pid, comm: args.comm, path: args.path, op: args.op };
    let (client, _upcalls) = args.connect.client("upcall debug", false).await?;
    let mut events = client.events(serde_json::to_string(&filter)?).await?;
    let mut lost = 0;
    while let Some(event) = events.next().await {
        let text = event?;
        let mut out = std::io::stdout().lock();
        if args.json {
            writeln!(out, "{text}")?;
        } else {
            let event: Value = serde_json::from_str(&text).context("an event is not JSON")?;
            let now = event["lost"].as_u64().unwrap_or_default();
            if now > lost {
                writeln!(out, "... {} events lost", now - lost)?;
                lost = now;
            }
            writeln!(out, "{}", line(&event))?;
        }
        out.flush()?;
    }
    Ok(())
}

fn line(event: &Value) -> String {
    let text = |field: &str| match &event[field] {
        Value::String(text) => text.clone(),
        Value::Null => "?".into(),
        other => other.to_string(),
    };
    let changes: Vec<_> =
        event["changes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!(
        "{:.6} {} {} {} ino {} pid {} {} bytes {} {} interested {} told {}",
        event["time"].as_f64().unwrap_or_default(),
        text("hook"),
        text("op"),
        text("path"),
        text("ino"),
        text("pid"),
        text("comm"),
        text("amount"),
        changes.join("|"),
        text("interested"),
        text("told"),
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::Cli;

    #[test]
    fn a_misspelt_operation_is_refused_with_the_known_ones() {
        assert!(Cli::try_parse_from(["upcall", "debug", "--op", "io_uring"]).is_ok());
        let error = Cli::try_parse_from(["upcall", "debug", "--op", "wriet"]).expect_err("misspelt");
        let text = error.to_string();
        assert!(text.contains("wriet") && text.contains("write") && text.contains("chmod"), "{text}");
        assert_eq!(error.exit_code(), 2);
    }
}
