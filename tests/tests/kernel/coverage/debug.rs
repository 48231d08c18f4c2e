//! > A run of the coverage suite under `upcall debug --json` matches: every performed operation appears once, with
//! > the right operation name and process.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, sleep},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::{
    Result,
    daemon::Daemon,
    deadline::{LOOK, patience, wait_for},
    filesystem::Filesystem,
    helper::Helper,
    op::Shown,
    program,
};

/// `upcall debug --json`, and files whose changes show how far it has got.
pub(super) struct Debug {
    child: Child,
    lines: Receiver<String>,
    /// Where the markers are.
    dir: PathBuf,
    markers: u32,
    daemon: Arc<Daemon>,
    /// Programs skipped before the operation.
    skipped: u64,
}

/// An inode whose events count, as the kernel numbers it: `st_dev` is another number on some filesystems.
pub(super) struct Suspect {
    device: u64,
    ino: u64,
}

impl Suspect {
    pub(super) fn at(path: &Path) -> Result<Self> {
        let table = std::fs::read_to_string("/proc/self/mountinfo")?;
        // Device and mount point are the third and the fifth field; what is mounted last is on top.
        let mounts = table.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(2);
            let (device, point) = (fields.next()?.split_once(':')?, fields.nth(1)?);
            path.starts_with(point).then_some((point.len(), device))
        });
        let (_, (major, minor)) = mounts.max_by_key(|(length, _)| *length).context("not mounted")?;
        let device = major.parse::<u64>()? << 20 | minor.parse::<u64>()?;
        Ok(Self { device, ino: std::fs::symlink_metadata(path)?.ino() })
    }

    fn is_in(&self, event: &Value) -> bool {
        event["ino"] == self.ino && event["dev"] == self.device
    }
}

impl Debug {
    pub(super) fn start(filesystem: &Filesystem, helper: &mut Helper, dir: &Path) -> Result<Self> {
        let daemon = filesystem.daemon()?;
        let connect = daemon.unix().to_string();
        let mut child = Command::new(program::upcall()?)
            .args(["debug", "--json", "--connect", &connect])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start upcall debug")?;
        let output = BufReader::new(child.stdout.take().context("it has no output")?);
        let (send, lines) = mpsc::channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut debug = Self { child, lines, dir: dir.to_owned(), markers: 0, daemon, skipped: 0 };
        // Nothing says that the stream has begun but an event.
        let first = dir.join("first");
        std::fs::write(&first, [])?;
        wait_for("upcall debug to begin", || {
            helper.mark(&first)?;
            let mut lines = debug.lines.try_iter();
            Ok(lines.any(|line| line.contains("first")).then_some(()))
        })?;
        debug.until_marker(helper)?;
        Ok(debug)
    }

    /// All events up to now.
    fn until_marker(&mut self, helper: &mut Helper) -> Result<Vec<Value>> {
        // A new one each time, of which there is no event yet.
        self.markers += 1;
        let marker = self.dir.join(format!("marker-{}", self.markers));
        std::fs::write(&marker, [])?;
        helper.mark(&marker)?;
        let marker = marker.display().to_string();
        let mut events = Vec::new();
        loop {
            let line = match self.lines.recv_timeout(patience()) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => bail!("upcall debug does not show the marker"),
                Err(RecvTimeoutError::Disconnected) => bail!("upcall debug has ended"),
            };
            let event: Value = serde_json::from_str(&line).with_context(|| format!("no JSON: {line}"))?;
            ensure!(event["lost"] == 0, "events were lost: {event}");
            if event["pid"] == helper.pid() && event["path"] == marker.as_str() {
                return Ok(events);
            }
            events.push(event);
        }
    }

    /// Forgets what has been shown so far.
    pub(super) fn skip(&mut self, helper: &mut Helper) -> Result<()> {
        self.skipped = self.daemon.skipped()?;
        self.until_marker(helper).map(drop)
    }

    /// That the operation has been shown once for each inode that it changed, since the last look.
    pub(super) fn check(&mut self, helper: &mut Helper, shown: Shown, suspects: &[Suspect]) -> Result<()> {
        let mut events = self.until_marker(helper)?;
        let end = Instant::now() + patience();
        let is_missing = |events: &[Value], suspect: &Suspect| {
            !events.iter().any(|event| suspect.is_in(event) && event["op"] == shown.op)
        };
        // The kernel's own thread may have told of the end of its work before it has left it.
        while !shown.by_asker
            && suspects.iter().any(|suspect| is_missing(&events, suspect))
            && self.daemon.skipped()? == self.skipped
            && Instant::now() < end
        {
            sleep(LOOK);
            events.extend(self.until_marker(helper)?);
        }
        for suspect in suspects {
            let of_op: Vec<_> =
                events.iter().filter(|event| suspect.is_in(event) && event["op"] == shown.op).collect();
            let of_inode = || events.iter().filter(|event| suspect.is_in(event)).collect::<Vec<_>>();
            let often = of_op.len();
            if often == 0 && self.daemon.skipped()? > self.skipped {
                println!("{}: the kernel skipped a hook, so that nothing is shown", shown.op);
                continue;
            }
            ensure!(
                often == 1 || often > 1 && !shown.once,
                "{} is shown {often} times for inode {}: {:?}",
                shown.op,
                suspect.ino,
                of_inode()
            );
            // What is shown more than once may be completed elsewhere.
            let by_asker = of_op.iter().any(|event| event["pid"] == helper.pid());
            ensure!(by_asker == shown.by_asker, "by another process than {}: {of_op:?}", helper.pid());
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
