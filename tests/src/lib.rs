//! What the integration tests share: filesystems to test on, the daemon as a program, clients that listen,
//! and processes that change files.

pub mod attempt;
pub mod coherence;
mod crew;
pub mod daemon;
pub mod deadline;
pub mod entry;
pub mod evict;
pub mod exclusion;
pub mod fdinfo;
pub mod filesystem;
pub mod helper;
pub mod listener;
pub mod long_write;
pub mod op;
pub mod own;
pub mod program;
pub mod raw;
pub mod scene;
pub mod sharer;
pub mod state;
mod stuck_write;
mod sys;
pub mod writer_client;

pub use anyhow::Result;
pub use sys::{file_handle, ioctl::subvolume, lease::WriteLease};
