//! Why the kernel did not grant a lease.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// `EAGAIN`. [`super::find_opener`] finds who.
    #[error("somebody has it open in a way that conflicts")]
    Open,
    /// `EINVAL`, `EOPNOTSUPP`: the filesystem, the file's type or the kernel cannot.
    #[error("unsupported: neither this kernel nor its filesystem leases it")]
    Unsupported,
    /// Somebody waits for it: it can only be given up.
    #[error("it is being broken, or was taken away")]
    Broken,
    /// `EACCES`, `EPERM`: neither the file's owner nor `CAP_LEASE`.
    #[error("not permitted: the daemon needs CAP_LEASE")]
    NotPermitted,
    /// `ENOLCK`, `ENOMEM`.
    #[error("the kernel has no memory for it")]
    NoMemory,
    #[error("the kernel refused it: {0}")]
    Other(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Self::Open,
            Some(libc::EINVAL | libc::EOPNOTSUPP | libc::ENOTTY) => Self::Unsupported,
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted,
            Some(libc::ENOLCK | libc::ENOMEM) => Self::NoMemory,
            _ => Self::Other(error),
        }
    }
}
