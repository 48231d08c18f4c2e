//! A run: writers write and faults befall for a while, all writers pause, all clients check, and so on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};

use super::{
    board::{self, Board},
    cache::Counts,
    faults::{self, World},
    plan::{Fault, Plan},
    post::{Post, Role, stream_of},
    proxy::Proxy,
    report::{Finding, Report},
    tree::Tree,
    visitor::Visitor,
};
use crate::{
    crew::Crew,
    daemon::{Daemon, Program},
    deadline::patience,
    scene::Scene,
};

/// How long writers write between two checks.
const STRETCH: std::ops::Range<u64> = 600..2200;

/// Between two lines about how far it is.
const PROGRESS: Duration = Duration::from_secs(15);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Promises that were not kept, each with what led to it.
    pub findings: Vec<String>,
    /// Those of them that are about something stale.
    pub stale: usize,
    /// What was done, in a line.
    pub summary: String,
}

/// Runs until the time of the plan is over, or something is found.
pub fn run(plan: &Plan, parent: &Path, program: Program) -> Result<Outcome> {
    let scene = Scene::within(parent)?;
    let tree = Tree::new(scene.path(), plan);
    let mut rng = stream_of(plan.seed, 0);
    // As every process here has it, whatever the caller's is.
    umask(Mode::from_bits_truncate(0o022));
    tree.make(&mut rng)?;
    let visitor = if plan.has(Fault::Unmount) { Visitor::make()? } else { None };
    let file = tempfile::NamedTempFile::new()?;
    let board = Board::open(file.path())?;
    let of_visitor = visitor.as_ref().map(|visitor| visitor.0.root());
    let exports: Vec<&Path> = [parent].into_iter().chain(of_visitor.as_deref()).collect();
    let daemon = Daemon::start_program(program, &exports, &faults::settings(plan, &tree), true)?;
    let proxy = plan.has(Fault::Cut).then(|| Proxy::start(&daemon.tcp())).transpose()?;
    let mut crew = Crew::new();
    let parts = (0..plan.clients).map(|index| (Role::Client, index));
    for (role, index) in parts.chain((0..plan.writers).map(|index| (Role::Writer, index))) {
        crew.start(Post {
            role,
            index,
            plan: plan.to_string(),
            board: file.path().to_owned(),
            root: scene.path().to_owned(),
            address: faults::address_of(index, &daemon, proxy.as_ref()).to_string(),
            life: 0,
        })?;
    }
    let (mute, befallen) = (Vec::new(), Vec::new());
    let mut world = World {
        plan,
        board: &board,
        tree: &tree,
        daemon,
        crew,
        proxy,
        visitor,
        rng,
        mute,
        limited: 0,
        befallen,
    };
    let mut found = Vec::new();
    let checks =
        world.go(&mut found).with_context(|| format!("the daemon's log:\n{}", world.daemon.log()))?;
    Ok(world.outcome(found, checks))
}

impl World<'_> {
    fn go(&mut self, found: &mut Vec<Finding>) -> Result<u64> {
        let end = Instant::now() + Duration::from_secs(self.plan.seconds);
        let (mut checks, mut told) = (0, Instant::now());
        while found.is_empty() && Instant::now() < end {
            let stretch = self.rng.u64(STRETCH);
            self.befall(Duration::from_millis(stretch))?;
            self.check(found)?;
            checks += 1;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                let left = end.saturating_duration_since(told).as_secs();
                println!("coherence: {checks} checks, {} operations, {left} s to go", self.board.done().0);
            }
        }
        Ok(checks)
    }

    fn check(&mut self, found: &mut Vec<Finding>) -> Result<()> {
        // A client may wait for a connection, then for what it is not told, and each look takes its time.
        let limit = patience() * 4;
        let phase = self.board.pause();
        let Self { board, plan, crew, daemon, .. } = self;
        board::wait(limit, "the writers to pause", || {
            crew.lives()?;
            Ok((0..plan.writers).all(|writer| board.writer_paused(writer, phase)))
        })?;
        board.ask_for_check(phase);
        board::wait(limit, "the clients to check", || {
            daemon.lives()?;
            crew.lives()?;
            Ok((0..plan.clients).all(|client| board.has_checked(client, phase)))
        })?;
        self.check_memory()?;
        self.collect(found);
        if found.is_empty() {
            self.board.resume();
        }
        Ok(())
    }

    fn collect(&self, found: &mut Vec<Finding>) {
        for report in self.crew.reports.try_iter() {
            if let Report::Finding(finding) = report {
                found.push(finding);
            }
        }
    }

    fn outcome(mut self, mut found: Vec<Finding>, checks: u64) -> Outcome {
        self.board.end();
        let mut findings = Vec::new();
        if let Err(error) = self.crew.finish(patience()) {
            findings.push(format!("{error:#}"));
        }
        let mut counts = Counts::default();
        for report in self.crew.reports.try_iter() {
            match report {
                Report::Counts(of_client) => counts.add(&of_client),
                Report::Finding(finding) => found.push(finding),
            }
        }
        let stale = found.iter().filter(|finding| finding.what.is_stale()).count();
        findings.extend(found.iter().map(Finding::to_string));
        let befallen = self.befallen.iter().map(|(fault, count)| format!("{} {count}", fault.name()));
        let counts = counts.named().map(|(name, count)| format!("{name} {count}"));
        let befallen = befallen.collect::<Vec<_>>().join(", ");
        let (done, kinds, failed) = self.board.done();
        let summary = format!(
            "operations {done} of {kinds} kinds and {failed} failed, checks {checks}, {}; faults: {befallen}",
            counts.collect::<Vec<_>>().join(", ")
        );
        Outcome { findings, stale, summary }
    }
}
