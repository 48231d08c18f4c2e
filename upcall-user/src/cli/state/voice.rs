//! What is told of what is held.

use std::io::Write;

use anyhow::Result;
use serde_json::Value;

/// Whom to tell, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    pub(super) json: bool,
    /// Standard output belongs to the command that runs.
    pub(super) aside: bool,
}

impl Voice {
    /// Flushed line by line: a pipe's reader wants each when it happens.
    pub(super) fn tell(self, line: &Value, human: &str) -> Result<()> {
        let text = if self.json { line.to_string() } else { human.to_owned() };
        if self.aside {
            writeln!(std::io::stderr().lock(), "{text}")?;
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }
}
