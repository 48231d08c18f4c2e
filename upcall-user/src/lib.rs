//! The library behind the program `upcall`: see ARCHITECTURE.md for how the parts hang together.

pub mod access;
pub mod hub;
pub mod source;
pub mod sys;
