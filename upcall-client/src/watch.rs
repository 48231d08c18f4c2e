//! What a client wishes to hear of.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use upcall_common::change;
use upcall_common::wire::{Attrs, RegisterItem};

use crate::named::Named;

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
        Self::new(Named::path(path.into()), cookie)
    }

    /// The file with a handle from `name_to_handle_at` on the storage host; `anchor` is an exported path
    /// on the same filesystem.
    pub fn handle(
        anchor: impl Into<PathBuf>,
        handle_type: i32,
        handle: impl Into<Vec<u8>>,
        cookie: u64,
    ) -> Self {
        Self::new(Named::handle(anchor.into(), handle_type, handle.into()), cookie)
    }

    /// An open file, passed over the Unix socket. It stays open until the watch ends, to be passed again
    /// after a reconnection.
    pub fn descriptor(file: impl Into<OwnedFd>, cookie: u64) -> Self {
        Self::new(Named::descriptor(file.into()), cookie)
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

    pub(crate) fn target(&self) -> &Named {
        &self.target
    }

    /// This watch in a request; `place` is where its descriptor will be.
    pub(crate) fn item(&self, known_version: u64, place: u8) -> RegisterItem {
        RegisterItem {
            cookie: self.cookie,
            mask: self.mask,
            include_own: self.include_own,
            names: self.names,
            lifetime_ms: self.lifetime_ms,
            known_version,
            target: self.target.target(place),
        }
    }
}

/// A lifetime on the wire, where 0 is none: at least a millisecond, at most what fits (49 days).
pub(crate) fn millis(lifetime: Option<Duration>) -> u32 {
    lifetime.map_or(0, |lifetime| u32::try_from(lifetime.as_millis()).unwrap_or(u32::MAX).max(1))
}
