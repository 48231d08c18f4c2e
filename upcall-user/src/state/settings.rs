//! How long, and how many.

use std::time::Duration;

/// What clients may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    pub leases: bool,
    pub shares: bool,
    pub locks: bool,
}

impl Switches {
    pub const fn any(self) -> bool {
        self.leases || self.shares || self.locks
    }

    pub const fn union(self, other: Self) -> Self {
        Self {
            leases: self.leases || other.leases,
            shares: self.shares || other.shares,
            locks: self.locks || other.locks,
        }
    }

    /// Of those that are on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let each = [(self.leases, "leases"), (self.shares, "shares"), (self.locks, "locks")];
        each.into_iter().filter(|(on, _)| *on).map(|(_, name)| name)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What a holder has to give its lease back.
    pub recall: Duration,
    /// What it gets more, once a recall, if it asks.
    pub extension: Duration,
    /// What a client that disconnected has to reclaim; and after a start of the daemon, everybody.
    pub grace: Duration,
    /// For how long a client gets no lease of a file of which one was revoked from it.
    pub backoff: Duration,
    /// Between two contention upcalls to one owner about one file.
    pub contention: Duration,
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            recall: Duration::from_secs(60),
            extension: Duration::from_secs(60),
            grace: Duration::from_secs(15),
            backoff: Duration::from_secs(10),
            contention: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// A lease is revoked by then at the latest, counted from a recall. The kernel's own patience
    /// (`fs.lease-break-time`) must be longer.
    pub fn longest_recall(&self) -> Duration {
        self.recall.saturating_add(self.extension)
    }
}

/// Of one client over all inodes, or of one inode over all clients.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    pub opens: usize,
    /// Each grant counts.
    pub leases: usize,
    /// Ranges after merging.
    pub locks: usize,
    /// Requests that are not answered yet.
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients, those among them that may still come back.
    pub clients: usize,
    pub client: Share,
    pub inode: Share,
    /// Steps of a search for owners of locks that would wait for each other.
    pub search: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 4096,
            client: Share { opens: 65_536, leases: 65_536, locks: 65_536, waiting: 1024 },
            inode: Share { opens: 16_384, leases: 16_384, locks: 16_384, waiting: 256 },
            search: 1 << 18,
        }
    }
}
