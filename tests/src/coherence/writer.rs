//! A process that does what it likes to the tree.

use std::{thread, time::Duration};

use anyhow::Result;
use nix::sys::prctl;

use super::{
    action::{self, Action},
    board::{GLANCE, Phase},
    plan::Fault,
    post::{Equipment, Post},
};

/// Longest rest between two operations, so that clients have something to keep.
const REST: Duration = Duration::from_millis(12);
/// One operation of so many is each of those that are none of the kernel tests'.
const SPECIAL: usize = 24;

pub(crate) fn run(post: &Post) -> Result<()> {
    prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let Equipment { plan, board, tree, mut rng } = post.equip()?;
    let actions = action::all();
    let find = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
    let ops = find(|action| !matches!(action, Action::Op(_))).unwrap_or(actions.len());
    let burst = || (find(|it| matches!(it, Action::Burst)), None);
    let special: Vec<(usize, Option<usize>)> = [
        Some(burst()),
        Some(burst()),
        Some(burst()),
        plan.has(Fault::Reuse).then(|| (find(|it| matches!(it, Action::Reuse)), None)),
        tree.crowd().map(|stage| (find(|it| matches!(it, Action::Crowd)), Some(stage))),
    ]
    .into_iter()
    .flatten()
    .filter_map(|(action, stage)| Some((action?, stage)))
    .collect();
    loop {
        match board.phase() {
            Phase::Over => return Ok(()),
            Phase::Pause(phase) => {
                board.writer_pauses(post.index, phase);
                thread::sleep(GLANCE);
                continue;
            }
            Phase::Write(_) => {}
        }
        let stage = rng.usize(..plan.stages);
        let (number, stage) = match special.get(rng.usize(..SPECIAL)) {
            Some(&(number, of)) => (number, of.unwrap_or(stage)),
            None => (rng.usize(..ops), stage),
        };
        let Some(&action) = actions.get(number) else { continue };
        if let Some(mut turn) = board.begin(stage, post.index, number, action.is_alone()) {
            let done = action.perform(&tree, stage, &mut rng);
            // Others are at work there too, so it may find what it does not expect; and not every filesystem has all.
            turn.errno = done.map_or_else(|error| errno(&error), |()| 0);
        }
        thread::sleep(REST.mul_f64(rng.f64()));
    }
}

fn errno(error: &std::io::Error) -> u64 {
    error.raw_os_error().and_then(|errno| errno.try_into().ok()).unwrap_or(u64::MAX)
}
