//! What was done to a stage, for who must find out what went wrong.

use std::fmt::Write;

use super::{
    action,
    board::{Board, Remembered, now_ns},
};

/// A line for each of the latest operations.
pub(crate) fn of(board: &Board, stage: usize) -> String {
    let (actions, now) = (action::all(), now_ns());
    let ago = |ns: u64| format!("{:.1}", now.saturating_sub(ns) as f64 / 1e6);
    let mut text = String::new();
    for Remembered { begun_ns, ended_ns, writer, action, errno } in board.history(stage) {
        let name = usize::try_from(action).ok().and_then(|action| actions.get(action));
        let name = name.map_or("?", |action| action.name());
        let ended = if ended_ns == 0 { "now".to_owned() } else { ago(ended_ns) };
        let errno = if errno == 0 { String::new() } else { format!(" errno {errno}") };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "    {} to {ended} ms ago: writer {writer} {name}{errno}", ago(begun_ns));
    }
    text
}
