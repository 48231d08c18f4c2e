//! The coherence checker. Processes change a tree in every way there is; clients keep what they have read of it and
//! drop it when they are told, and for no other reason. What a client keeps must then be what is on the disk: after a
//! SYNC nothing is older than the SYNC, and when the writers pause, upcalls alone must make it so. Meanwhile faults
//! befall the daemon and some of the clients.

mod action;
mod board;
mod cache;
mod client;
mod compare;
mod disk;
mod faults;
mod history;
mod interests;
mod plan;
mod post;
mod proxy;
mod report;
mod run;
mod tree;
mod view;
mod visitor;
mod writer;

use anyhow::Result;

pub use plan::{Fault, Plan};
pub use run::{Outcome, run};

pub(crate) use board::now_ns;
pub(crate) use post::stream_of;

use post::{Post, Role};

/// The argument that makes the test program a process of a run.
pub(crate) const ROLE: &str = "--coherence-process";

/// Plays a process's part of a run.
pub(crate) fn play(post: &str) -> Result<()> {
    let post: Post = serde_json::from_str(post)?;
    match post.role {
        Role::Writer => writer::run(&post),
        Role::Client => client::run(&post),
    }
}
