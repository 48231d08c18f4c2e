//! The exclusion checker. Many clients hold leases, share reservations and locks of a few files, local processes open,
//! change and lock them, and whoever holds something says so on a board, from when it knows of the grant until before it
//! gives it up. Two who exclude each other must never stand there together, unless one of them had been told in time, or
//! could not be: revoked, disconnected, killed. A lease must show the file as it was; each wait must end; and when all
//! have gone, the daemon must hold nothing.

mod board;
mod claim;
mod client;
mod clients;
mod holding;
mod local;
mod moves;
mod plan;
mod post;
mod rest;
mod run;
mod suspicion;

use anyhow::Result;

pub use plan::Plan;
pub use run::{Outcome, run};

use post::{Post, Role};

/// The argument that makes the test program a process of a run.
pub(crate) const ROLE: &str = "--exclusion-process";

/// Plays a process's part of a run.
pub(crate) fn play(post: &str) -> Result<()> {
    let post: Post = serde_json::from_str(post)?;
    match post.role {
        Role::Clients => clients::run(&post),
        Role::Local => local::run(&post),
    }
}
