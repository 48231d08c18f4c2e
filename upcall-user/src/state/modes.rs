//! What an open, a lease and a lock are for, and what excludes what.

/// What an open may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
    Both,
}

impl Access {
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    pub const fn contains(self, other: Self) -> bool {
        (self.reads() || !other.reads()) && (self.writes() || !other.writes())
    }

    /// A lease to read needs an open that reads, one to write an open that writes.
    pub const fn carries(self, kind: LeaseKind) -> bool {
        match kind {
            LeaseKind::Read => self.reads(),
            LeaseKind::Write => self.writes(),
        }
    }

    /// As `fcntl` has it: a read lock needs an open that reads, a write lock one that writes.
    pub const fn locks(self, kind: LockKind) -> bool {
        match kind {
            LockKind::Read => self.reads(),
            LockKind::Write => self.writes(),
        }
    }
}

/// What an open forbids to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deny {
    #[default]
    None,
    Read,
    Write,
    Both,
}

impl Deny {
    pub const fn new(read: bool, write: bool) -> Self {
        match (read, write) {
            (false, false) => Self::None,
            (true, false) => Self::Read,
            (false, true) => Self::Write,
            (true, true) => Self::Both,
        }
    }

    pub const fn denies_read(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    pub const fn denies_write(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }

    pub const fn contains(self, other: Self) -> bool {
        (self.denies_read() || !other.denies_read()) && (self.denies_write() || !other.denies_write())
    }

    pub const fn union(self, other: Self) -> Self {
        Self::new(self.denies_read() || other.denies_read(), self.denies_write() || other.denies_write())
    }

    pub const fn without(self, other: Self) -> Self {
        Self::new(self.denies_read() && !other.denies_read(), self.denies_write() && !other.denies_write())
    }

    pub const fn intersection(self, other: Self) -> Self {
        Self::new(self.denies_read() && other.denies_read(), self.denies_write() && other.denies_write())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseKind {
    /// Shared: nobody changes the file.
    Read,
    /// Exclusive: nobody else opens the file.
    Write,
}

/// What is left of a lease when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    None,
    Read,
}

impl Keep {
    /// Whether a holder of `kind` may stay as it is.
    pub fn allows(self, kind: Option<LeaseKind>) -> bool {
        kind <= self.kind()
    }

    pub const fn kind(self) -> Option<LeaseKind> {
        match self {
            Self::None => None,
            Self::Read => Some(LeaseKind::Read),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// Shared.
    Read,
    /// Exclusive.
    Write,
}

impl LockKind {
    pub const fn conflicts(self, other: Self) -> bool {
        matches!((self, other), (Self::Write, _) | (_, Self::Write))
    }
}
