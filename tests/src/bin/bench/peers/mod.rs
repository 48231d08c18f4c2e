//! What else tells of changes: the kernel's own means, as bare as can be, and programs that use them.

mod fanotify;
mod fatrace;
mod inotify;
mod process;
mod reader;
mod tool;
mod watchman;

pub use self::{
    inotify::{allow, watch_all},
    reader::Reader,
    tool::Tool,
};
