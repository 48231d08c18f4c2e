//! Files that clients name.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
};

use upcall_common::abi::Key;

/// A file that a client has named and may open.
#[derive(Debug)]
pub struct Found {
    /// `O_PATH`.
    pub fd: OwnedFd,
    pub key: Key,
    pub generation: u32,
    pub is_directory: bool,
    /// Of a filesystem of this host, where opening and closing wait for nobody.
    pub is_local: bool,
}

/// Of no other file, as long as this one is open.
pub type FileKey = (Key, u32);

impl Found {
    pub fn key(&self) -> FileKey {
        (self.key, self.generation)
    }

    /// Where it is now. The kernel answers from memory.
    pub(super) fn path(&self) -> Option<String> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).ok()?;
        Some(path.display().to_string())
    }
}

/// For an OPEN.
#[derive(Debug)]
pub struct Named {
    pub found: Arc<Found>,
    /// The innermost export that it lies in: an index into [`crate::access::Exports::roots`].
    pub export: usize,
    /// The client may open it for writing.
    pub writable: bool,
    /// A description that the client passed to write by, while it has a lease.
    pub passed: Option<OwnedFd>,
}
