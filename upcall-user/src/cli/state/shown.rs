//! `upcall status --state`: what clients hold.

use std::{collections::HashMap, io::Write};

use anyhow::{Context, Result};
use serde_json::Value;

/// The parts that the daemon's answer came in, as one.
pub(in crate::cli) fn join(pages: &[String]) -> Result<Value> {
    let mut joined = Value::Null;
    for page in pages {
        let page: Value = serde_json::from_str(page).context("the daemon's answer is not JSON")?;
        if joined.is_null() {
            joined = page;
        } else if let (Some(files), Value::Object(mut page)) = (joined["files"].as_array_mut(), page) {
            let more = page.remove("files").map(take_list).unwrap_or_default();
            more.into_iter().for_each(|file| add(files, file));
        }
    }
    Ok(joined)
}

/// A file of the next part, which may be the last one's rest.
fn add(files: &mut Vec<Value>, mut file: Value) {
    let Some(last) = files.last_mut().filter(|last| last["file"] == file["file"]) else {
        return files.push(file);
    };
    for name in ["opens", "locks", "waiting"] {
        let rest = take_list(file[name].take());
        if let Some(list) = last[name].as_array_mut() {
            list.extend(rest);
        }
    }
}

fn take_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        _ => Vec::new(),
    }
}

/// The daemon's answer for a person: a line for each file, below it one for each open with what it carries, and one for
/// each request that waits.
pub(in crate::cli) fn print(out: &mut impl Write, shown: &Value) -> Result<()> {
    let files = list(shown, "files");
    if files.is_empty() {
        writeln!(out, "nothing is held")?;
    }
    for file in files {
        writeln!(out, "{}", file["path"].as_str().unwrap_or("a file without a path"))?;
        let mut locks: HashMap<Option<u64>, Vec<&Value>> = HashMap::new();
        for lock in list(file, "locks") {
            locks.entry(lock["open"].as_u64()).or_default().push(lock);
        }
        for open in list(file, "opens") {
            writeln!(out, "    {}", held(open))?;
            for line in leases(open) {
                writeln!(out, "        {line}")?;
            }
            for lock in locks.remove(&open["open"].as_u64()).unwrap_or_default() {
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

    fn printed(shown: &Value) -> String {
        let mut out = Vec::new();
        print(&mut out, shown).expect("there is room");
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
        assert_eq!(printed(&shown), expected);
        assert_eq!(printed(&json!({"files": []})), "nothing is held\n");
    }

    #[test]
    fn parts_become_one() {
        let file = |file: u64, opens: &[u64], locks: &[u64]| json!({"file": file, "opens": opens, "locks": locks, "waiting": []});
        let parts = [
            json!({"now": {}, "files": [file(1, &[1], &[]), file(2, &[2, 3], &[])]}),
            json!({"files": [file(2, &[4], &[5])]}),
            json!({"files": [file(2, &[], &[6]), file(3, &[7], &[])]}),
        ];
        let whole = json!({"now": {}, "files": [file(1, &[1], &[]), file(2, &[2, 3, 4], &[5, 6]), file(3, &[7], &[])]});
        assert_eq!(join(&parts.map(|part| part.to_string())).expect("JSON"), whole);
        assert!(join(&["{".to_owned()]).is_err());
    }
}
