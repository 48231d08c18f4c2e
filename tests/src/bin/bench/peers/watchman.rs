//! watchman: gathers changes below a directory until they settle, then tells its subscribers, a line of JSON each time.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::deadline::{patience, wait_for};

use super::{Tool, process::Process};

/// Its shortest: by default it waits for 20 ms without a change.
const CONFIG: &str = r#"{"settle": 1}"#;

/// A server of its own, with a subscription to the directory of `path`; returns once it tells of changes.
pub(super) fn start(path: &Path) -> Result<(Process, OwnedFd)> {
    let root = path.parent().context("a file without a directory")?;
    fs::write(root.join(".watchmanconfig"), CONFIG)?;
    let dir = tempfile::Builder::new().prefix("upcall-bench-").tempdir()?;
    let at = |name| format!("--{name}={}", dir.path().join(name).display());
    let socket = dir.path().join("sockname");
    let child = Command::new(Tool::Watchman.find()?)
        .args(["--foreground", "--no-save-state"])
        .args(["sockname", "logfile", "pidfile", "statefile"].map(at))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start watchman")?;
    let process = Process::of(child, Some(dir));
    let stream = wait_for("watchman to listen", || Ok(UnixStream::connect(&socket).ok()))?;
    stream.set_read_timeout(Some(patience()))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    ask(&stream, &mut lines, &json!(["watch", root]))?;
    let query = json!({"expression": ["type", "f"], "fields": ["name"]});
    ask(&stream, &mut lines, &json!(["subscribe", root, "bench", query]))?;
    // All files that are there, once.
    let first = next(&mut lines)?;
    ensure!(first["is_fresh_instance"] == true, "watchman began with {first}");
    ensure!(lines.buffer().is_empty(), "watchman tells of changes before there are any");
    stream.set_read_timeout(None)?;
    Ok((process, stream.into()))
}

fn ask(mut stream: &UnixStream, lines: &mut impl BufRead, request: &Value) -> Result<()> {
    stream.write_all(format!("{request}\n").as_bytes())?;
    let answer = next(lines)?;
    ensure!(answer.get("error").is_none(), "watchman refused {request}: {answer}");
    Ok(())
}

fn next(lines: &mut impl BufRead) -> Result<Value> {
    let mut line = String::new();
    lines.read_line(&mut line).context("watchman does not answer")?;
    serde_json::from_str(&line).with_context(|| format!("watchman said {line:?}"))
}
