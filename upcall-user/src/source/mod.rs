//! How changes are seen: loads the BPF programs, attaches those of one source and hands out the maps.

mod attach;
mod btf;
mod error;
mod hold;
mod hooks;
mod kernel;
mod load;
mod pins;
mod skips;
mod survey;
mod syscalls;
mod takeover;
mod types;

use serde::{Deserialize, Serialize};

pub use btf::{Layout, LayoutError};
pub use error::{LoadError, Lost};
pub use hold::{Breaks, Deny, Programs, ROOM, Shares, Unsupported};
pub use hooks::{FEXIT, Kind, Program, TIMESTAMP};
pub use kernel::Flags;
pub use load::{Loaded, Sizes, load};
pub use pins::{PinError, Pins};
pub use skips::{Finding, Skips};
pub use survey::{Coverage, Exception, Survey, missing_capabilities, survey};
pub use takeover::Takeover;

/// How changes are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Trampolines on VFS functions.
    Fexit,
    /// Tracepoints on inode timestamp updates.
    Timestamp,
}

impl Source {
    pub fn name(self) -> &'static str {
        upcall_common::paths::Source::from(self).name()
    }

    /// Its BPF programs.
    pub const fn programs(self) -> &'static [Program] {
        match self {
            Self::Fexit => FEXIT,
            Self::Timestamp => TIMESTAMP,
        }
    }
}

impl From<Source> for upcall_common::paths::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Fexit => Self::Fexit,
            Source::Timestamp => Self::Timestamp,
        }
    }
}

/// What the administrator asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SourceChoice {
    /// `fexit` where the kernel allows it, else `timestamp`.
    #[default]
    Auto,
    Fexit,
    Timestamp,
}
