//! `upcall debug`: every change as it happens.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, builder::PossibleValuesParser};
use serde_json::Value;
use upcall_common::abi::Op;

use super::{ConnectArgs, state};
use crate::events::{EventFilter, StateOp};

#[derive(Debug, Args)]
pub(super) struct DebugArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Changes made by this process, and what happens to what it holds
    #[arg(long)]
    pid: Option<u32>,
    /// Changes made by processes of this name
    #[arg(long)]
    comm: Option<String>,
    /// Changes of files whose path begins so
    #[arg(long, value_name = "PREFIX")]
    path: Option<String>,
    /// Changes by this operation, such as write or chmod; or of what clients hold, such as recall
    #[arg(long, value_parser = PossibleValuesParser::new(ops()))]
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

/// What `--op` knows.
fn ops() -> impl Iterator<Item = &'static str> {
    Op::ALL.iter().map(|op| op.name()).chain(StateOp::ALL.into_iter().map(StateOp::name))
}

fn line(event: &Value) -> String {
    if event["type"] == "state" { held(event) } else { change(event) }
}

/// Of what clients hold.
fn held(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or("?");
    let what = match event["what"].as_str() {
        Some("open") => format!("open for {}, deny {},", text("access"), text("deny")),
        Some("lease") => format!("{} lease", text("kind")),
        Some("lock") => {
            let kind = event["kind"].as_str().map(|kind| format!("{kind} ")).unwrap_or_default();
            format!("{kind}lock {}:{} of owner {}", event["start"], event["length"], event["owner"])
        }
        _ => "all".into(),
    };
    let mut line = format!(
        "{:.6} state {} {what} of {} open {} client {} pid {}",
        event["time"].as_f64().unwrap_or_default(),
        text("op"),
        text("path"),
        event["open"],
        text("client"),
        event["pid"],
    );
    if let Some(who) = state::who(&event["who"]) {
        line += &format!(" for {who}");
    }
    if let Some(left) = event["deadline_ms"].as_u64() {
        line += &format!(" within {left} ms");
    }
    if let Some(code) = event["code"].as_str() {
        line += &format!(": {code}");
    }
    if let Some(text) = event["text"].as_str() {
        line += &format!(": {text}");
    }
    line
}

fn change(event: &Value) -> String {
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
    use serde_json::json;

    use super::super::Cli;

    #[test]
    fn what_happens_to_what_is_held_is_a_line() {
        let recall = json!({"type": "state", "time": 1.5, "op": "recall", "client": "b", "pid": 7, "path": "/srv/a",
            "open": 3, "what": "lease", "kind": "write", "who": {"pid": 42}, "code": null, "text": null,
            "deadline_ms": 60_000});
        let line = super::line(&recall);
        let expected = "1.500000 state recall write lease of /srv/a open 3 client b pid 7 for local process 42 within 60000 ms";
        assert_eq!(line, expected);
        let refuse = json!({"type": "state", "time": 2, "op": "refuse", "client": "b", "pid": 0, "path": null, "open": 3,
            "what": "lock", "owner": 1, "kind": "read", "start": 0, "length": 9, "who": null, "code": "conflict",
            "text": "no", "deadline_ms": null});
        let expected =
            "2.000000 state refuse read lock 0:9 of owner 1 of ? open 3 client b pid 0: conflict: no";
        assert_eq!(super::line(&refuse), expected);
    }

    #[test]
    fn a_misspelt_operation_is_refused_with_the_known_ones() {
        assert!(Cli::try_parse_from(["upcall", "debug", "--op", "io_uring"]).is_ok());
        let error = Cli::try_parse_from(["upcall", "debug", "--op", "wriet"]).expect_err("misspelt");
        let text = error.to_string();
        assert!(text.contains("wriet") && text.contains("write") && text.contains("chmod"), "{text}");
        assert_eq!(error.exit_code(), 2);
    }
}
