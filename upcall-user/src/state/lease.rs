//! What one holder has of one inode, and its recall.

use std::time::Instant;

use super::{Access, Keep, LeaseKind, Who};

/// A recall that has not been answered.
#[derive(Debug)]
pub(super) struct Recall {
    pub(super) keep: Keep,
    pub(super) deadline: Instant,
    pub(super) extended: bool,
    pub(super) who: Who,
}

/// Each grant takes one return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grants {
    read: usize,
    write: usize,
}

impl Grants {
    pub(super) const fn of(self, kind: LeaseKind) -> usize {
        match kind {
            LeaseKind::Read => self.read,
            LeaseKind::Write => self.write,
        }
    }

    pub(super) const fn total(self) -> usize {
        self.read + self.write
    }

    pub(super) fn add(&mut self, kind: LeaseKind) {
        *self.count(kind) += 1;
    }

    pub(super) fn one(kind: LeaseKind) -> Self {
        let mut one = Self::default();
        one.add(kind);
        one
    }

    /// One of this kind, of which there is one, becomes what is kept.
    pub(super) fn replace(&mut self, kind: LeaseKind, kept: Option<LeaseKind>) {
        *self.count(kind) -= 1;
        if let Some(kept) = kept {
            self.add(kept);
        }
    }

    /// Whether an open of that access could carry them.
    pub(super) const fn carried_by(self, access: Access) -> bool {
        (self.read == 0 || access.carries(LeaseKind::Read))
            && (self.write == 0 || access.carries(LeaseKind::Write))
    }

    pub(super) fn subtract(&mut self, others: Self) {
        self.read -= others.read;
        self.write -= others.write;
    }

    /// What exceeds these.
    pub(super) const fn beyond(self, others: Self) -> Self {
        Self { read: self.read.saturating_sub(others.read), write: self.write.saturating_sub(others.write) }
    }

    pub(super) const fn strongest(self) -> Option<LeaseKind> {
        match (self.read, self.write) {
            (0, 0) => None,
            (_, 0) => Some(LeaseKind::Read),
            _ => Some(LeaseKind::Write),
        }
    }

    fn count(&mut self, kind: LeaseKind) -> &mut usize {
        match kind {
            LeaseKind::Read => &mut self.read,
            LeaseKind::Write => &mut self.write,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Lease {
    pub(super) grants: Grants,
    pub(super) recall: Option<Recall>,
}

impl Lease {
    pub(super) const fn kind(&self) -> Option<LeaseKind> {
        self.grants.strongest()
    }
}
