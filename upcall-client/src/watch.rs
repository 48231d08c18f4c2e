//! What a client wishes to hear of.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use upcall_common::change;
use upcall_common::wire::{Attrs, Code, MAX_HANDLE, MAX_PATH, RegisterItem, Target};

/// A wish to hear of one file or directory. Kept by the client for as long as it is live.
#[derive(Clone, Debug)]
pub struct Watch {
    target: Named,
    cookie: u64,
    mask: u32,
    include_own: bool,
    names: bool,
    lifetime_ms: u32,
}

#[derive(Clone, Debug)]
enum Named {
    Path(Vec<u8>),
    Handle { anchor: Vec<u8>, handle_type: i32, handle: Vec<u8> },
    Descriptor(Arc<OwnedFd>),
}

/// A live interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Names the interest for as long as the client exists, across reconnections.
    pub interest: u64,
    /// The version at which it became live.
    pub version: u64,
    pub attrs: Option<Attrs>,
}

impl Watch {
    fn new(target: Named, cookie: u64) -> Self {
        Self {
            target,
            cookie,
            mask: change::ANY | change::VOLATILE,
            include_own: false,
            names: false,
            lifetime_ms: 0,
        }
    }

    /// The file at `path` on the storage host. `cookie` comes back in its notices.
    pub fn path(path: impl Into<PathBuf>, cookie: u64) -> Self {
        Self::new(Named::Path(bytes(path.into())), cookie)
    }

    /// The file with a handle from `name_to_handle_at` on the storage host; `anchor` is an exported path
    /// on the same filesystem.
    pub fn handle(
        anchor: impl Into<PathBuf>,
        handle_type: i32,
        handle: impl Into<Vec<u8>>,
        cookie: u64,
    ) -> Self {
        Self::new(Named::Handle { anchor: bytes(anchor.into()), handle_type, handle: handle.into() }, cookie)
    }

    /// An open file, passed over the Unix socket. It stays open until the watch ends, to be passed again
    /// after a reconnection.
    pub fn descriptor(file: impl Into<OwnedFd>, cookie: u64) -> Self {
        Self::new(Named::Descriptor(Arc::new(file.into())), cookie)
    }

    /// The [change bits](change) to hear of. Default: [`change::ANY`] and [`change::VOLATILE`].
    #[must_use]
    pub fn mask(self, mask: u32) -> Self {
        Self { mask, ..self }
    }

    /// Hear of changes by this very process too. Default: no.
    #[must_use]
    pub fn include_own(self, include_own: bool) -> Self {
        Self { include_own, ..self }
    }

    /// Of a directory: hear which of its entries have changed, see [`Names`](crate::Names). Comes with
    /// [`ENTRIES`](change::ENTRIES), so the mask must have it. Default: no.
    #[must_use]
    pub fn names(self, names: bool) -> Self {
        Self { names, ..self }
    }

    /// End the interest after this time unless it is renewed; a reconnection starts the time anew.
    /// Default: no end.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime_ms: millis(Some(lifetime)), ..self }
    }

    pub(crate) fn cookie(&self) -> u64 {
        self.cookie
    }

    pub(crate) fn asks_for_names(&self) -> bool {
        self.names && self.mask & change::ENTRIES != 0
    }

    pub(crate) fn set_lifetime_ms(&mut self, lifetime_ms: u32) {
        self.lifetime_ms = lifetime_ms;
    }

    /// The descriptor to pass with the item.
    pub(crate) fn file(&self) -> Option<&Arc<OwnedFd>> {
        match &self.target {
            Named::Descriptor(file) => Some(file),
            _ => None,
        }
    }

    /// What a frame could not carry at all.
    pub(crate) fn unsendable(&self, descriptors: bool) -> Option<Code> {
        match &self.target {
            Named::Path(path) | Named::Handle { anchor: path, .. } if path.len() > MAX_PATH => {
                Some(Code::BadName)
            }
            Named::Handle { handle, .. } if handle.len() > MAX_HANDLE => Some(Code::BadTarget),
            Named::Descriptor(_) if !descriptors => Some(Code::BadTarget),
            _ => None,
        }
    }

    /// This watch in a request; `place` is where its descriptor will be.
    pub(crate) fn item(&self, known_version: u64, place: u8) -> RegisterItem {
        let target = match &self.target {
            Named::Path(path) => Target::Path(path.clone()),
            Named::Handle { anchor, handle_type, handle } => {
                Target::Handle { anchor: anchor.clone(), handle_type: *handle_type, handle: handle.clone() }
            }
            Named::Descriptor(_) => Target::Descriptor(place),
        };
        RegisterItem {
            cookie: self.cookie,
            mask: self.mask,
            include_own: self.include_own,
            names: self.names,
            lifetime_ms: self.lifetime_ms,
            known_version,
            target,
        }
    }
}

fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}

/// A lifetime on the wire, where 0 is none: at least a millisecond, at most what fits (49 days).
pub(crate) fn millis(lifetime: Option<Duration>) -> u32 {
    lifetime.map_or(0, |lifetime| u32::try_from(lifetime.as_millis()).unwrap_or(u32::MAX).max(1))
}
