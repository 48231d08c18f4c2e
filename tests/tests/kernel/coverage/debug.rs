//! > A run of the coverage suite under `upcall debug --json` matches: every performed operation appears once, with
//! > the right operation name and process.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::{
    Result,
    deadline::{patience, wait_for},
    filesystem::Filesystem,
    helper::Helper,
    op::Shown,
    program,
};

/// `upcall debug --json`, and a file whose change shows how far it has got.
pub(super) struct Debug {
    child: Child,
    lines: Receiver<String>,
    marker: PathBuf,
}

/// An inode whose events count.
pub(super) struct Suspect {
    ino: u64,
    /// Below this directory: the layers of an overlay share numbers.
    within: PathBuf,
}

impl Suspect {
    pub(super) fn at(path: &Path) -> Result<Self> {
        let within = path.parent().context("a file without a directory")?;
        Ok(Self { ino: std::fs::symlink_metadata(path)?.ino(), within: within.to_owned() })
    }

    fn is_in(&self, event: &Value) -> bool {
        // An inode that has lost its names is shown without any.
        let path = event["path"].as_str().map(Path::new);
        event["ino"] == self.ino && path.is_none_or(|path| path.starts_with(&self.within))
    }
}

impl Debug {
    pub(super) fn start(filesystem: &Filesystem, helper: &mut Helper, marker: PathBuf) -> Result<Self> {
        let connect = filesystem.daemon()?.unix().to_string();
        let mut child = Command::new(program::upcall()?)
            .args(["debug", "--json", "--connect", &connect])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start upcall debug")?;
        let output = BufReader::new(child.stdout.take().context("it has no output")?);
        let (send, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut debug = Self { child, lines, marker };
        // Nothing says that the stream has begun but an event.
        wait_for("upcall debug to begin", || {
            helper.write(&debug.marker)?;
            let mut lines = debug.lines.try_iter();
            Ok(lines.any(|line| line.contains("marker")).then_some(()))
        })?;
        debug.until_marker(helper)?;
        Ok(debug)
    }

    /// All events up to now.
    fn until_marker(&mut self, helper: &mut Helper) -> Result<Vec<Value>> {
        let name = self.marker.with_extension("next");
        // A new name each time, so that an event of an earlier one is not taken for it.
        std::fs::rename(&self.marker, &name)?;
        helper.mark(&name)?;
        std::fs::rename(&name, &self.marker)?;
        let ends_with = name.display().to_string();
        let mut events = Vec::new();
        loop {
            let line = match self.lines.recv_timeout(patience()) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("upcall debug does not show the marker"),
                Err(RecvTimeoutError::Disconnected) => bail!("upcall debug has ended"),
            };
            let event: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
            ensure!(event["lost"] == 0, "events were lost: {event}");
            if event["op"] == "utimes" && event["path"] == ends_with.as_str() {
                return Ok(events);
            }
            events.push(event);
        }
    }

    /// Forgets what has been shown so far.
    pub(super) fn skip(&mut self, helper: &mut Helper) -> Result<()> {
        self.until_marker(helper).map(drop)
    }

    /// That the operation has been shown once for each inode that it changed, since the last look.
    pub(super) fn check(&mut self, helper: &mut Helper, shown: Shown, suspects: &[Suspect]) -> Result<()> {
        let events = self.until_marker(helper)?;
        for suspect in suspects {
            let of_op: Vec<_> =
                events.iter().filter(|event| suspect.is_in(event) && event["op"] == shown.op).collect();
            let [event] = of_op[..] else {
                let of_inode: Vec<_> = events.iter().filter(|event| suspect.is_in(event)).collect();
                bail!("{} is shown {} times for inode {}: {of_inode:?}", shown.op, of_op.len(), suspect.ino);
            };
            let by_asker = event["pid"] == helper.pid();
            ensure!(by_asker == shown.by_asker, "by another process than {}: {event}", helper.pid());
        }
        Ok(())
    }
}

impl Drop for Debug {
    fn drop(&mut self) {
        // It may have ended with the daemon.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
