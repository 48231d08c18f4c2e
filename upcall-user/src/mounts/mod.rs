//! The mount table of this process: which filesystems there are, where they are seen, and when that changes.
#![forbid(unsafe_code)]

mod table;
mod watch;

pub use table::{Mount, Table};
pub use watch::watch;
