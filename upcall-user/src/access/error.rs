use std::fmt::Display;
use std::io;
use std::path::Path;

/// Why a target was refused. The messages go to the peer: they say no more than it could find out itself.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{0}")]
    NotExported(String),
    #[error("{0}")]
    NotPermitted(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    StaleHandle(String),
    #[error("{0}")]
    BadTarget(String),
    /// No file can have this path.
    #[error("{0}")]
    BadName(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("cannot {tried}")]
    Internal { tried: String, source: io::Error },
}

impl AccessError {
    pub(super) fn not_exported(path: &Path) -> Self {
        Self::NotExported(format!(
            "{} is not beneath an export; ask the administrator to export it",
            path.display()
        ))
    }

    pub(super) fn not_readable(what: impl Display) -> Self {
        Self::NotPermitted(format!("{what} may not be read by this user; grant it read permission"))
    }

    /// For `map_err`: something failed that neither the target nor the peer explains.
    pub(super) fn internal(tried: &str) -> impl FnOnce(io::Error) -> Self {
        let tried = tried.to_owned();
        move |source| Self::Internal { tried, source }
    }
}
