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
    #[error(
        "cannot {0}: the daemon, or the host, has as many files open as it may; close some opens, or raise LimitNOFILE of the daemon"
    )]
    Exhausted(String),
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
        move |source| match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Exhausted(tried),
            _ => Self::Internal { tried, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_descriptors_left_is_told_what_to_raise() {
        for (errno, exhausted) in [(libc::EMFILE, true), (libc::ENFILE, true), (libc::EIO, false)] {
            let error = AccessError::internal("open it")(io::Error::from_raw_os_error(errno));
            assert_eq!(matches!(error, AccessError::Exhausted(_)), exhausted, "{error}");
            assert_eq!(error.to_string().contains("LimitNOFILE"), exhausted);
        }
    }
}
