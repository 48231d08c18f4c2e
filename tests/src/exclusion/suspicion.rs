//! Two claims that exclude each other, until it is known how each has ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::board::{Board, End};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Suspicion {
    pub(super) what: String,
    pub(super) file: usize,
    /// Member, number and text of each.
    pub(super) claims: [(usize, u64, String); 2],
}

/// How it stands with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It is claimed now.
    Stands,
    /// It is not, and its holder has not told yet how it ended.
    Untold,
    Ended(End),
    /// Too much has come after it.
    Forgotten,
}

impl Suspicion {
    /// Whether both claims stood to their ends, once that is known. What is forgotten counts, so that nothing is lost in
    /// silence.
    pub(super) fn verdict(&self, board: &Board) -> Option<bool> {
        let stands =
            self.claims.each_ref().map(|(member, number, _)| board.stand(*member, self.file, *number));
        if stands.contains(&Stand::Ended(End::Excused)) {
            Some(false)
        } else if stands.iter().any(|stand| matches!(stand, Stand::Stands | Stand::Untold)) {
            None
        } else {
            Some(true)
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, file, claims: [one, other] } = self;
        write!(f, "{what} of file {file} was broken: {one:?} beside {other:?}")
    }
}
