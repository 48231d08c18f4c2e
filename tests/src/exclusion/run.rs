//! A run: for a while everybody does what they do, daemon and processes are killed, and what is suspected is judged; then
//! all go, and nothing may be left.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use fastrand::Rng;

use super::{
    board::Board,
    plan::{GRACE, Plan, RECALL},
    post::{Counts, Post, Report, Role, TOGETHER, path_of},
    rest,
    suspicion::Suspicion,
};
use crate::{
    coherence::{now_ns, stream_of},
    crew::Crew,
    daemon::{Daemon, Program},
    deadline::{LOOK, patience},
    scene::Scene,
};

/// Between two faults.
const CALM: std::ops::Range<u64> = 1000..4000;
/// One fault of so many is the daemon's: until its clients are back nobody gets anything.
const DAEMON: u8 = 5;
/// Between two lines about how far it is.
const PROGRESS: Duration = Duration::from_secs(15);
/// A local process waits for a recall, once extended.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Promises that were not kept.
    pub findings: Vec<String>,
    /// Something of which nothing was done: then it was not tried.
    pub untried: Option<&'static str>,
    /// What was done, in a line.
    pub summary: String,
}

struct World<'a> {
    plan: &'a Plan,
    board: Board,
    daemon: Daemon,
    crew: Crew<Post>,
    rng: Rng,
    suspected: Vec<Suspicion>,
    /// Those that came to nothing.
    acquitted: u64,
    findings: Vec<String>,
    counts: Counts,
    daemons_killed: u64,
    killed: u64,
}

/// Runs until the time of the plan is over, or something is found.
pub fn run(plan: &Plan, parent: &Path, program: Program) -> Result<Outcome> {
    let scene = Scene::within(parent)?;
    for file in 0..plan.files {
        let path = path_of(scene.path(), file);
        let name = path.file_name().and_then(|name| name.to_str()).context("a name that is no text")?;
        scene.file_with(name, b"first", 0o666)?;
    }
    let file = tempfile::NamedTempFile::new()?;
    let settings = format!(
        "recall_ms = {}\nstate_grace_ms = {}\ncontention_ms = 500",
        RECALL.as_millis(),
        GRACE.as_millis()
    );
    let daemon =
        Daemon::start_program_holding(program, &[(scene.path(), &["leases", "shares", "locks"])], &settings)?;
    let mut world = World {
        plan,
        board: Board::open(file.path(), plan)?,
        daemon,
        crew: Crew::new(),
        rng: stream_of(plan.seed, 0),
        suspected: Vec::new(),
        acquitted: 0,
        findings: Vec::new(),
        counts: Counts::default(),
        daemons_killed: 0,
        killed: 0,
    };
    let address = world.daemon.unix().to_string();
    let post = |role, first, count| Post {
        role,
        first,
        count,
        plan: plan.to_string(),
        board: file.path().to_owned(),
        root: scene.path().to_owned(),
        address: address.clone(),
        life: 0,
    };
    for first in (0..plan.clients).step_by(TOGETHER) {
        world.crew.start(post(Role::Clients, first, TOGETHER.min(plan.clients - first)))?;
    }
    for first in plan.clients..plan.members() {
        world.crew.start(post(Role::Local, first, 1))?;
    }
    let done = world.go().and_then(|()| world.leave(scene.path()));
    done.with_context(|| format!("the daemon's log:\n{}", world.daemon.log()))?;
    Ok(world.outcome())
}

impl World<'_> {
    fn go(&mut self) -> Result<()> {
        let begun = Instant::now();
        let end = begun + Duration::from_secs(self.plan.seconds);
        let (mut told, mut fault) = (begun, begun + self.calm());
        while self.findings.is_empty() && Instant::now() < end {
            thread::sleep(LOOK * 4);
            self.daemon.lives()?;
            self.crew.lives()?;
            self.judge();
            self.check_waits();
            if Instant::now() >= fault {
                self.befall()?;
                fault = Instant::now() + self.calm();
            }
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let left = end.saturating_duration_since(told).as_secs();
                println!("state: {} requests, {left} s to go", self.board.done(0..self.plan.clients));
            }
        }
        Ok(())
    }

    fn calm(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(CALM))
    }

    /// Takes in what was said, and what is known by now of what is suspected.
    fn judge(&mut self) {
        for report in self.crew.reports.try_iter() {
            match report {
                Report::Suspicion(suspicion) => self.suspected.push(suspicion),
                Report::Finding(finding) => self.findings.push(finding),
                Report::Counts(counts) => self.counts.add(&counts),
            }
        }
        let Self { board, suspected, findings, acquitted, .. } = self;
        suspected.retain(|suspicion| {
            match suspicion.verdict(board) {
                Some(true) => findings.push(suspicion.to_string()),
                Some(false) => *acquitted += 1,
                None => return true,
            }
            false
        });
    }

    fn check_waits(&mut self) {
        for member in self.plan.clients..self.plan.members() {
            let since = self.board.busy_since(member);
            let waited = Duration::from_nanos(now_ns().saturating_sub(since));
            if since != 0 && waited > LONGEST_WAIT {
                self.findings.push(format!("process {member} has waited for {waited:?} for a lease"));
            }
        }
    }

    /// The daemon, a process with clients or a local process is killed, and another takes its place.
    fn befall(&mut self) -> Result<()> {
        if self.rng.u8(..DAEMON) == 0 {
            self.daemons_killed += 1;
            return self.daemon.restart();
        }
        let clients = self.rng.bool();
        let (role, first) = match clients {
            true => (Role::Clients, self.rng.usize(..self.plan.clients) / TOGETHER * TOGETHER),
            false => (Role::Local, self.plan.clients + self.rng.usize(..self.plan.processes)),
        };
        self.killed += 1;
        let mut post = self.crew.kill(&role.named(first))?;
        (first..first + post.count).for_each(|member| self.board.bury(member));
        post.life += 1;
        self.crew.start(post)
    }

    /// All go.
    fn leave(&mut self, root: &Path) -> Result<()> {
        self.board.end();
        if let Err(error) = self.crew.finish(patience() * 3) {
            self.findings.push(format!("{error:#}"));
        }
        self.judge();
        let open = self.suspected.drain(..).map(|it| format!("it is not known how both have ended: {it}"));
        self.findings.extend(open);
        if self.findings.is_empty() {
            self.findings.extend(rest::left(&mut self.daemon, root)?);
        }
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let Self { board, plan, counts, acquitted, daemons_killed, killed, findings, .. } = self;
        let Counts { opens, leases, locks, recalls, revoked, reclaimed, lost, refused } = counts;
        let summary = format!(
            "requests {}, local deeds {}; opens {opens}, leases {leases}, locks {locks}, refused {refused}, recalls \
             {recalls}, revoked {revoked}, reclaimed {reclaimed}, lost {lost}, acquitted {acquitted}; killed: daemons \
             {daemons_killed}, others {killed}",
            board.done(0..plan.clients),
            board.done(plan.clients..plan.members()),
        );
        let tried = [
            ("opens", opens),
            ("leases", leases),
            ("locks", locks),
            ("recalls", recalls),
            ("revoked", revoked),
            ("reclaimed", reclaimed),
        ];
        let untried = tried.into_iter().find(|(_, count)| *count == 0).map(|(what, _)| what);
        Outcome { findings, untried, summary }
    }
}
