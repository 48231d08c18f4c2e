//! What a process of a run is told when it starts, and what it says.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::{board::Board, plan::Plan, suspicion::Suspicion};
use crate::{coherence::stream_of, crew::Posting};

/// Clients that share a process.
pub(super) const TOGETHER: usize = 10;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) role: Role,
    /// Its first member, on the board.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// A [`Plan`].
    pub(crate) plan: String,
    pub(crate) board: PathBuf,
    pub(crate) root: PathBuf,
    /// Where the daemon listens.
    pub(crate) address: String,
    /// Rises with each process that takes the place of a killed one.
    pub(crate) life: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Clients,
    Local,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Suspicion(Suspicion),
    /// Anything else that must not be.
    Finding(String),
    Counts(Counts),
}

/// What clients have been granted and told.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) opens: u64,
    pub(crate) leases: u64,
    pub(crate) locks: u64,
    pub(crate) recalls: u64,
    pub(crate) revoked: u64,
    pub(crate) reclaimed: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { opens, leases, locks, recalls, revoked, reclaimed, lost, refused } = other;
        self.opens += opens;
        self.leases += leases;
        self.locks += locks;
        self.recalls += recalls;
        self.revoked += revoked;
        self.reclaimed += reclaimed;
        self.lost += lost;
        self.refused += refused;
    }
}

impl Post {
    pub(crate) fn plan(&self) -> Result<Plan> {
        self.plan.parse()
    }

    pub(crate) fn open_board(&self) -> Result<Board> {
        Board::open(&self.board, &self.plan()?).context("cannot open the board")
    }

    /// Of one of its members.
    pub(crate) fn rng(&self, member: usize) -> Result<Rng> {
        Ok(stream_of(self.plan()?.seed, (self.life << 16) | member as u64 | 1 << 63))
    }
}

impl Role {
    pub(super) fn named(self, first: usize) -> String {
        format!("{self:?} {first}")
    }
}

impl Posting for Post {
    type Report = Report;
    const ROLE: &'static str = super::ROLE;

    fn name(&self) -> String {
        self.role.named(self.first)
    }
}

pub(super) fn path_of(root: &Path, file: usize) -> PathBuf {
    root.join(format!("file{file}"))
}
