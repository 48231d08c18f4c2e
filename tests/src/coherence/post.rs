//! What a process of a run is told when it starts.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::{board::Board, plan::Plan, report::Report, tree::Tree};
use crate::crew::Posting;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) role: Role,
    pub(crate) index: usize,
    /// A [`Plan`].
    pub(crate) plan: String,
    pub(crate) board: PathBuf,
    pub(crate) root: PathBuf,
    /// Where the daemon listens, for a client.
    pub(crate) address: String,
    /// Rises with each process that takes the place of a killed one.
    pub(crate) life: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Writer,
    Client,
}

impl Role {
    pub(crate) fn named(self, index: usize) -> String {
        format!("{self:?} {index}")
    }
}

impl Posting for Post {
    type Report = Report;
    const ROLE: &'static str = super::ROLE;

    fn name(&self) -> String {
        self.role.named(self.index)
    }
}

/// What follows from it.
pub(crate) struct Equipment {
    pub(crate) plan: Plan,
    pub(crate) board: Board,
    pub(crate) tree: Tree,
    pub(crate) rng: Rng,
}

impl Post {
    pub(crate) fn equip(&self) -> Result<Equipment> {
        let plan: Plan = self.plan.parse()?;
        let board = Board::open(&self.board).context("cannot open the board")?;
        let tree = Tree::new(&self.root, &plan);
        let stream = (self.life << 16) | ((self.index as u64) << 8) | self.role as u64;
        Ok(Equipment { board, tree, rng: stream_of(plan.seed, stream + 1), plan })
    }
}

/// A stream of random numbers that has nothing to do with the others of the seed.
pub(crate) fn stream_of(seed: u64, stream: u64) -> Rng {
    let mut of_seed = Rng::with_seed(seed);
    let mut of_stream = Rng::with_seed(stream);
    Rng::with_seed(of_seed.u64(..) ^ of_stream.u64(..).rotate_left(17))
}
