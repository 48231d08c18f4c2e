//! What else tells of changes: the kernel's own means, as bare as can be, and programs that use them.

mod fanotify;
mod fatrace;
mod inotify;
mod process;
mod reader;
mod tool;
mod watchman;

/// How figures and pictures call them.
pub const INOTIFY: &str = "inotify";
pub const FANOTIFY: &str = "fanotify";
/// Nobody tells of anything.
pub const NO_DAEMON: &str = "no daemon";

pub use self::{
    inotify::{allow, watch_all},
    reader::Reader,
    tool::Tool,
};
