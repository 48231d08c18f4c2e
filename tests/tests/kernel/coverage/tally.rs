//! How many cells there were, and what became of them.

use std::{
    fmt::{self, Display, Formatter},
    sync::{Mutex, PoisonError},
};

use upcall_common::paths::MutationPath;

use super::cell::Verdict;

#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    told: usize,
    /// Filesystem, change and what became of it.
    missed: Vec<String>,
    skipped: Vec<String>,
}

impl Tally {
    pub(super) fn count(&self, filesystem: &str, path: &MutationPath, verdict: &Verdict) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Verdict::Told => counts.told += 1,
            Verdict::Missed(_) => counts.missed.push(format!("{filesystem}: {}", path.test)),
            Verdict::Unsupported(error) => {
                counts.skipped.push(format!("{filesystem}: {}: {error:?}", path.test));
            }
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, missed, skipped) = (counts.told, &counts.missed, &counts.skipped);
        let cells = told + missed.len() + skipped.len();
        writeln!(
            f,
            "coverage: {cells} cells: {told} told, {} not seen, as the table says, {} skipped",
            missed.len(),
            skipped.len()
        )?;
        missed.iter().try_for_each(|cell| writeln!(f, "coverage: not seen: {cell}"))?;
        skipped.iter().try_for_each(|cell| writeln!(f, "coverage: skipped: {cell}"))
    }
}
