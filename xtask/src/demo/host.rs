//! The demo's daemon and clients: the real program, started as processes.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::Value;
use tempfile::TempDir;

use super::changes;
use crate::{cargo, command};

/// An upcall that a client printed.
pub(super) struct Heard {
    pub(super) path: PathBuf,
    pub(super) changes: Vec<String>,
}

/// A process that ends with us.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// The daemon and its tree.
pub(super) struct Host {
    program: PathBuf,
    // Ends before its tree goes.
    _daemon: Process,
    sockets: TempDir,
    tree: TempDir,
    port: u16,
}

impl Host {
    pub(super) fn start() -> Result<Self> {
        ensure!(geteuid().is_root(), "the demo starts the daemon, which needs root");
        let program = build()?;
        let (sockets, tree) = (tempfile::tempdir()?, tempfile::tempdir()?);
        changes::plant(tree.path())?;
        // Free a moment ago; the daemon says so if it no longer is.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut daemon = Command::new(&program)
            .arg("daemon")
            .arg("--export")
            .arg(tree.path())
            .arg("--unix")
            .arg(sockets.path().join("socket"))
            .args(["--tcp", &format!("127.0.0.1:{port}")])
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the daemon")?;
        let log = daemon.stderr.take().context("no log to read")?;
        let daemon = Process(daemon);
        wait_until_ready(BufReader::new(log))?;
        Ok(Self { program, _daemon: daemon, sockets, tree, port })
    }

    pub(super) fn tree(&self) -> &Path {
        self.tree.path()
    }

    fn address(&self, kind: &str) -> String {
        match kind {
            "tcp" => format!("tcp:127.0.0.1:{}", self.port),
            _ => format!("unix:{}", self.sockets.path().join("socket").display()),
        }
    }

    /// Starts a client and waits until it watches.
    pub(super) fn watch(&self, kind: &'static str, paths: &[PathBuf]) -> Result<Watcher> {
        let mut client = Command::new(&self.program)
            .args(["watch", "--json", "--connect", &self.address(kind)])
            .args(paths)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a client")?;
        let output = client.stdout.take().context("no output to read")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let watcher = Watcher { name: kind, _process: Process(client), lines, received: 0 };
        for _ in paths {
            let line =
                watcher.line(Instant::now() + super::PATIENCE)?.context("a client could not register")?;
            ensure!(line["type"] == "registered", "a client printed {line}");
        }
        Ok(watcher)
    }

    /// Waits until nothing is under way: every upcall that the daemon sent has been read here.
    pub(super) fn settle(&self, watchers: &mut [Watcher], patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let status = self.status()?;
            let hub = &status["hub"];
            let clients = hub["clients"].as_array().context("status names no clients")?;
            let sent: u64 = clients.iter().map(|it| count(&it["delivered"]) + count(&it["repeated"])).sum();
            let waiting: u64 = clients.iter().map(|it| count(&it["pending"])).sum();
            for watcher in watchers.iter_mut() {
                while watcher.next(Instant::now())?.is_some() {}
            }
            let read: usize = watchers.iter().map(Watcher::received).sum();
            if count(&hub["unsettled"]) == 0 && waiting == 0 && sent == read as u64 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the daemon does not come to rest: {hub}");
            thread::yield_now();
        }
    }

    fn status(&self) -> Result<Value> {
        let mut status = Command::new(&self.program);
        status.args(["status", "--json", "--connect", &self.address("unix")]);
        Ok(serde_json::from_str(&command::output(&mut status)?)?)
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A client's process and what it prints.
pub(super) struct Watcher {
    name: &'static str,
    _process: Process,
    lines: Receiver<String>,
    received: usize,
}

impl Watcher {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Upcalls read so far.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    /// The next upcall; `None` at the deadline.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<Heard>> {
        let Some(line) = self.line(deadline)? else { return Ok(None) };
        ensure!(line["type"] == "upcall", "the {} client printed {line}", self.name);
        self.received += 1;
        let changes: Vec<_> = line["changes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let path = PathBuf::from(line["path"].as_str().unwrap_or_default());
        println!("  {:<4} {} {}", self.name, path.display(), changes.join("|"));
        Ok(Some(Heard { path, changes }))
    }

    fn line(&self, deadline: Instant) -> Result<Option<Value>> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(serde_json::from_str(&line)?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the {} client has ended", self.name),
        }
    }
}

fn build() -> Result<PathBuf> {
    println!("building upcall");
    command::run(cargo::cargo().args(["build", "--quiet", "--package", "upcall-user"]))?;
    let ours = std::env::current_exe()?;
    let program = ours.with_file_name("upcall");
    ensure!(program.exists(), "{} was not built", program.display());
    Ok(program)
}

/// Reads the log until the daemon listens; passes everything else on, then and later.
fn wait_until_ready(mut log: impl BufRead + Send + 'static) -> Result<()> {
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        eprint!("{line}");
        if line.contains("listening") {
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
            return Ok(());
        }
        line.clear();
    }
    bail!("the daemon ended before it was ready")
}
