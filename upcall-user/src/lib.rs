//! The library behind the program `upcall`: see ARCHITECTURE.md for how the parts hang together.

pub mod access;
pub mod arbiter;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dispatch;
pub mod events;
pub mod fate;
pub mod hold;
pub mod hub;
pub mod logging;
pub mod mounts;
pub mod names;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod server;
pub mod source;
pub mod state;
pub mod sys;
pub mod unmount;
