//! `upcall status --state`: what clients hold.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

/// The daemon's JSON for a person: a line for each file, below it one for each open with what it carries, and one for
/// each request that waits.
pub(in crate::cli) fn print(out: &mut impl Write, text: &str) -> Result<()> {
    let shown: Value = serde_json::from_str(text).context("the daemon's answer is not JSON")?;
    let files = list(&shown, "files");
    if files.is_empty() {
        writeln!(out, "nothing is held")?;
    }
    for file in files {
        writeln!(out, "{}", file["path"].as_str().unwrap_or("a file without a path"))?;
        for open in list(file, "opens") {
            writeln!(out, "    {}", held(open))?;
            for line in leases(open) {
                writeln!(out, "        {line}")?;
            }
            for lock in list(file, "locks").iter().filter(|lock| lock["open"] == open["open"]) {
                writeln!(out, "        {}", lock_of(lock))?;
            }
        }
        for request in list(file, "waiting") {
            writeln!(out, "    waits: {}", waits(request))?;
        }
    }
    Ok(())
}

/// How much there is and has been, in a line for `upcall status`.
pub(in crate::cli) fn summary(state: &Value) -> String {
    let (now, totals) = (&state["now"], &state["totals"]);
    format!(
        "{} clients hold {} leases ({} recalled) and {} locks, {} requests wait; so far {} leases, {} recalls, {} returns, {} revocations, {} refusals",
        now["clients"],
        now["leases"],
        now["recalls"],
        now["locks"],
        now["waiting"],
        totals["leases"],
        totals["recalled"],
        totals["returned"],
        totals["revoked"],
        totals["refused"],
    )
}

/// Who it is by.
pub(in crate::cli) fn who(who: &Value) -> Option<String> {
    match (&who["pid"], &who["client"]) {
        (Value::Number(pid), _) => Some(format!("local process {pid}")),
        (_, Value::String(name)) => Some(format!("client {name}")),
        _ => None,
    }
}

fn held(open: &Value) -> String {
    let deny =
        if open["deny"] == "none" { String::new() } else { format!(", denies {}", plain(&open["deny"])) };
    let gone = match open["lapses_ms"].as_u64() {
        Some(left) => format!("; gone, and has {left} ms to come back"),
        None => String::new(),
    };
    format!(
        "{} since {} s: open {} for {}{deny}{}{gone}",
        client(open),
        open["seconds"],
        open["open"],
        plain(&open["access"]),
        advisory(open)
    )
}

/// What it carries, and that it is recalled.
fn leases(open: &Value) -> Vec<String> {
    let carried = |kind: &str| open[format!("{kind}_leases")].as_u64().filter(|count| *count > 0);
    let line = |kind: &str, count: u64| {
        let times = if count > 1 { format!(", {count} times") } else { String::new() };
        format!("{kind} lease since {} s{times}", open["lease_seconds"])
    };
    let mut lines: Vec<String> =
        ["write", "read"].into_iter().filter_map(|kind| Some(line(kind, carried(kind)?))).collect();
    if let recall @ Value::Object(_) = &open["recall"] {
        let by = who(&recall["who"]).map(|who| format!(" for {who}")).unwrap_or_default();
        let keep = if recall["keep"] == "read" { ", a read lease may be kept" } else { "" };
        lines.push(format!("recalled{by}: {} ms left{keep}", recall["left_ms"]));
    }
    lines
}

fn lock_of(lock: &Value) -> String {
    format!("{} since {} s{}", range(lock), lock["seconds"], advisory(lock))
}

fn range(lock: &Value) -> String {
    let range = (&lock["start"], &lock["length"]);
    format!("{} lock {}:{} of owner {}", plain(&lock["kind"]), range.0, range.1, lock["owner"])
}

fn waits(request: &Value) -> String {
    let what = match request["what"].as_str() {
        Some("lock") => range(request),
        Some("lease") => format!("{} lease", plain(&request["kind"])),
        _ => format!("open for {}, denies {}", plain(&request["access"]), plain(&request["deny"])),
    };
    format!("{} since {} s: {what}", client(request), request["seconds"])
}

fn client(of: &Value) -> String {
    match of["pid"].as_u64().filter(|pid| *pid > 0) {
        Some(pid) => format!("{} (uid {}, pid {pid})", plain(&of["client"]), of["uid"]),
        None => format!("{} (uid {})", plain(&of["client"]), of["uid"]),
    }
}

fn advisory(of: &Value) -> &'static str {
    if of["advisory"] == true { " (advisory)" } else { "" }
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn printed(text: &str) -> String {
        let mut out = Vec::new();
        print(&mut out, text).expect("it is JSON");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn who_holds_what_since_when_and_who_waits() {
        let shown = json!({"files": [{
            "path": "/srv/a",
            "opens": [
                {"client": "b", "uid": 0, "pid": 7, "connected": true, "open": 3, "access": "both", "deny": "write",
                    "read_leases": 0, "write_leases": 2, "advisory": false, "seconds": 60, "lease_seconds": 50,
                    "lapses_ms": null, "recall": {"left_ms": 900, "keep": "read", "who": {"pid": 42}}},
                {"client": "c", "uid": 5, "pid": 0, "connected": false, "open": 4, "access": "read", "deny": "none",
                    "read_leases": 0, "write_leases": 0, "advisory": true, "seconds": 9, "lease_seconds": null,
                    "lapses_ms": 1500, "recall": null},
            ],
            "locks": [{"client": "b", "open": 3, "owner": 1, "kind": "read", "start": 0, "length": 10, "advisory": false,
                "seconds": 5}],
            "waiting": [{"client": "d", "uid": 0, "pid": 8, "what": "lock", "owner": 2, "kind": "write", "start": 5,
                "length": 0, "seconds": 1}],
        }]});
        let expected = "\
/srv/a
    b (uid 0, pid 7) since 60 s: open 3 for both, denies write
        write lease since 50 s, 2 times
        recalled for local process 42: 900 ms left, a read lease may be kept
        read lock 0:10 of owner 1 since 5 s
    c (uid 5) since 9 s: open 4 for read (advisory); gone, and has 1500 ms to come back
    waits: d (uid 0, pid 8) since 1 s: write lock 5:0 of owner 2
";
        assert_eq!(printed(&shown.to_string()), expected);
        assert_eq!(printed(r#"{"files":[]}"#), "nothing is held\n");
        assert!(print(&mut Vec::new(), "{").is_err());
    }
}
