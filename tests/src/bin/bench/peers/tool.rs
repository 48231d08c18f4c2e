//! Programs that tell of changes: measured where they are installed.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Fatrace,
    Watchman,
}

impl Tool {
    pub const ALL: [Self; 2] = [Self::Fatrace, Self::Watchman];

    pub fn name(self) -> &'static str {
        match self {
            Self::Fatrace => "fatrace",
            Self::Watchman => "watchman",
        }
    }

    /// Those that are here.
    pub fn present() -> Vec<Self> {
        Self::ALL.into_iter().filter(|tool| tool.absent().is_none()).collect()
    }

    /// Why it cannot be measured, if it cannot.
    pub fn absent(self) -> Option<String> {
        self.find().err().map(|error| error.to_string())
    }

    pub(super) fn find(self) -> Result<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        let more = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
        let mut places = env::split_paths(&path).chain(more).map(|dir| dir.join(self.name()));
        places.find(|file| file.is_file()).context("it is not installed")
    }
}
