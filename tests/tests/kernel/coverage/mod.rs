//! Every way to change something, on every filesystem, told over Unix and over TCP: the rows of
//! `upcall_common::paths`. What the table says to be missed must be missed, too.

mod cell;
mod debug;
mod doctor;
mod stand;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use libtest_mimic::Completion;
use tests::{
    Result,
    deadline::in_vm,
    filesystem::{Filesystem, NAMES},
    op,
};
use upcall_common::paths::{self, Group, MutationPath};

use crate::trials::Trials;
use cell::Verdict;
use stand::Stand;

pub(crate) use tally::Tally;

/// One for each filesystem, shared by its cells.
type Shared = Arc<Mutex<Option<Stand>>>;

pub(crate) fn add(trials: &mut Trials<'_>, tally: &Arc<Tally>) {
    trials.each_filesystem(|trials, name| {
        let shared = Shared::default();
        for (_, path) in paths::all().filter(|(group, _)| *group != Group::Lifetime) {
            // An NFS server is above filesystems, and lets nobody write for 10 s after its start.
            if in_vm() && path.test == "nfsd_write" && name != NAMES[0] {
                continue;
            }
            let (shared, tally) = (Arc::clone(&shared), Arc::clone(tally));
            trials.on(name, path.test, move |filesystem| judge(filesystem, path, &shared, &tally));
        }
        // What the cells shared is no business of the tests that come after them.
        trials.on(name, "nothing_is_told_after_the_last_change", move |_| {
            let stand = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            stand.map_or(Ok(Completion::ignored_with("nothing was changed")), Stand::close)
        });
    });
    doctor::add(trials);
}

/// Call it when all tests are there.
pub(crate) fn check(trials: &mut Trials<'_>) {
    let names = trials.names();
    trials.kernel("every_path_has_a_test", move |_| {
        for (_, path) in paths::all() {
            let test = format!("::{}", path.test);
            ensure!(names.iter().any(|name| name.ends_with(&test)), "no test is called {}", path.test);
        }
        Ok(())
    });
}

fn judge(
    filesystem: &Filesystem,
    path: &'static MutationPath,
    shared: &Shared,
    tally: &Tally,
) -> Result<Completion> {
    let op = op::find(path.test).context("no operation is called so")?;
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    // After a failure nobody knows what will still be told: it is not put back.
    let mut stand = match shared.take() {
        Some(stand) => stand,
        None => Stand::on(filesystem)?,
    };
    let verdict = stand.judge(filesystem, path, op)?;
    *shared = Some(stand);
    tally.count(filesystem.name, path, &verdict);
    Ok(match verdict {
        Verdict::Told => Completion::Completed,
        Verdict::Missed(gap) => Completion::ignored_with(format!("not seen, as the table says: {}", gap.why)),
        Verdict::Unsupported(error) => Completion::ignored_with(format!("not supported: {error}")),
    })
}
