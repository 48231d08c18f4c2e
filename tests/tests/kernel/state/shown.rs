//! > `upcall status --state [PATH]`; `upcall debug` shows grants, recalls, returns, revocations, contention.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{
    Result,
    attempt::Attempt,
    deadline::{LOOK, patience},
    filesystem::Filesystem,
    listener::block_on,
    program,
};
use tokio::time::{sleep, timeout};
use upcall_client::{Access, Code, Deny, Grant, LeaseKind, LockKind, LockRequest, OpenRequest};
use upcall_common::wire::MAX_BODY;

use super::{Stage, holder::refused, until};
use crate::trials::Trials;

pub(crate) fn add(trials: &mut Trials<'_>) {
    trials.daemon("state::debug_shows_what_happens_to_what_is_held", debug);
    trials.daemon("state::status_shows_who_holds_what_and_who_waits", status);
    trials.daemon("state::status_shows_all_that_is_held_however_much_it_is", much);
}

/// `upcall debug`, killed when dropped.
struct Looker {
    child: Child,
    lines: Receiver<String>,
    events: Vec<Value>,
}

impl Looker {
    fn start(stage: &Stage) -> Result<Self> {
        let mut command = Command::new(program::upcall()?);
        // Much else happens on this machine.
        command.args(["debug", "--json", "--connect", &stage.daemon.unix().to_string(), "--path"]);
        command.arg(&stage.file);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (send, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Ok(Self { child, lines, events: Vec::new() })
    }

    /// Whether an event has been shown that has all these fields.
    fn has_shown(&mut self, fields: &Value) -> Result<bool> {
        for line in self.lines.try_iter() {
            self.events.push(serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?);
        }
        let fields = fields.as_object().context("no fields")?;
        Ok(self.events.iter().any(|event| fields.iter().all(|(name, value)| event[name] == *value)))
    }

    async fn shows(&mut self, fields: Value) -> Result<()> {
        let shown = until(&format!("{fields}"), || self.has_shown(&fields)).await;
        shown.with_context(|| format!("shown: {:#?}", self.events))
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn debug(filesystem: &Filesystem) -> Result<()> {
    let mut stage = Stage::with(filesystem, "recall_ms = 1000")?;
    let mut looker = Looker::start(&stage)?;
    block_on(async {
        let (mut a, b) = stage.two().await?;
        let (file, pid) = (stage.file.display().to_string(), std::process::id());
        // Until the stream has begun nothing is shown, and nothing says that it has: try again.
        let beginning = async {
            while !looker.has_shown(&json!({"op": "close"}))? {
                let open = a.open(&stage.file, 9, Access::Read).await?;
                a.state.close(open).await?;
                sleep(LOOK).await;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(patience(), beginning).await.context("`upcall debug` shows nothing")??;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        let of = |op: &str, what: &str| json!({"type": "state", "op": op, "what": what, "path": file, "client": "a", "pid": pid});
        looker.shows(of("grant", "open")).await?;
        looker.shows(with(of("grant", "lease"), "kind", json!("write"))).await?;
        stage.other.begin(Attempt::Read, &stage.file)?;
        a.recalled().await?;
        let reader = json!({"pid": stage.other.pid()});
        looker.shows(with(of("recall", "lease"), "who", reader)).await?;
        a.give_back(open, LeaseKind::Write).await?;
        stage.other.finish()?;
        looker.shows(of("return", "lease")).await?;
        a.lease(open, LeaseKind::Write).await?;
        stage.other.begin(Attempt::Read, &stage.file)?;
        a.recalled().await?;
        ensure!(a.revoked().await? == open);
        stage.other.finish()?;
        looker.shows(of("revoke", "lease")).await?;
        a.lock(open, 7, LockKind::Write, (0, 10)).await?;
        looker.shows(with(of("grant", "lock"), "length", json!(10))).await?;
        let second = b.open(&stage.file, 2, Access::Both).await?;
        let lock = LockRequest::new(1, LockKind::Write, 5, 1);
        ensure!(refused(b.state.lock(second, lock).await)? == Code::Conflict);
        looker.shows(with(of("contention", "lock"), "who", json!({"client": "b"}))).await?;
        looker.shows(json!({"op": "refuse", "what": "lock", "client": "b", "code": "conflict"})).await?;
        drop(b);
        looker.shows(json!({"op": "lapse", "client": "b", "path": file})).await
    })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

fn status(filesystem: &Filesystem) -> Result<()> {
    // The totals are to be its own.
    let stage = Stage::with(filesystem, "")?;
    block_on(async {
        let (mut a, b) = stage.two().await?;
        let open = a.hold(&stage.file, 1, LeaseKind::Write).await?;
        let wanted = OpenRequest::path(&stage.file, 2).access(Access::Read).wait(true);
        ensure!(matches!(b.ask_open(wanted).await?, Grant::Waiting(_)));
        a.recalled().await?;
        let connect = stage.daemon.unix().to_string();
        let path = stage.file.display().to_string();
        let shown = program::json_lines(["status", "--state", &path, "--json", "--connect", &connect])?;
        let file = shown.first().map(|shown| &shown["files"][0]).context("nothing is shown")?;
        let (pid, held, waits) = (std::process::id(), &file["opens"][0], &file["waiting"][0]);
        ensure!(file["path"] == *path, "{file}");
        ensure!(held["client"] == "a" && held["pid"] == pid, "{file}");
        ensure!(held["write_leases"] == 1 && held["lease_seconds"].is_u64(), "{file}");
        ensure!(held["recall"]["who"] == json!({"client": "b"}), "{file}");
        let left = held["recall"]["left_ms"].as_u64().context("no time is left")?;
        ensure!(left > 0 && u128::from(left) <= a.state.begun().recall.as_millis(), "{file}");
        ensure!(waits["client"] == "b" && waits["what"] == "open" && waits["access"] == "read", "{file}");
        let text = program::output(["status", "--state", &path, "--connect", &connect])?;
        let text = String::from_utf8(text.stdout)?;
        ensure!(text.contains("recalled for client b: "), "{text}");
        // Another file's is not shown.
        let other = stage.scene.file("other")?.display().to_string();
        let none = program::json_lines(["status", "--state", &other, "--json", "--connect", &connect])?;
        ensure!(none.first().is_some_and(|shown| shown["files"] == json!([])), "{none:?}");
        a.give_back(open, LeaseKind::Write).await?;
        let denied = refused(b.try_open(&stage.file, 3, Access::Read, Deny::Read).await)?;
        ensure!(denied == Code::Conflict);
        let status = stage.daemon.status()?;
        let totals = &status["state"]["totals"];
        let counts =
            ["leases", "recalled", "returned", "revoked", "refused"].map(|count| totals[count].as_u64());
        ensure!(counts == [1, 1, 1, 0, 1].map(Some), "{totals}");
        let export = &status["exports"][0];
        ensure!(export["leases"] == true && export["path"].is_string(), "{export}");
        Ok(())
    })
}

/// Opens of one file that do not fit a frame.
const MANY: usize = 4096;

fn much(filesystem: &Filesystem) -> Result<()> {
    let stage = Stage::with(filesystem, "")?;
    block_on(async {
        let (a, b) = stage.two().await?;
        for id in 0..MANY {
            a.open(&stage.file, u8::try_from(id % 256)?, Access::Read).await?;
        }
        b.hold(&stage.scene.file("other")?, 1, LeaseKind::Write).await?;
        let connect = stage.daemon.unix().to_string();
        let shown = program::json_lines(["status", "--state", "--json", "--connect", &connect])?;
        let shown = shown.first().context("nothing is shown")?;
        ensure!(shown.to_string().len() > MAX_BODY as usize, "it fits a frame");
        ensure!(shown["now"]["opens"] == MANY + 1, "{}", shown["now"]);
        let files = shown["files"].as_array().context("no files")?;
        let numbers = |file: &Value| -> Option<(usize, BTreeSet<u64>)> {
            let opens = file["opens"].as_array()?;
            Some((opens.len(), opens.iter().filter_map(|open| open["open"].as_u64()).collect()))
        };
        let counts: Vec<_> = files.iter().filter_map(numbers).map(|(all, them)| (all, them.len())).collect();
        ensure!(counts == [(MANY, MANY), (1, 1)], "{counts:?}");
        Ok(())
    })
}
