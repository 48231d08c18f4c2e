//! How many opens there are of which sort.

use super::{Access, Deny};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) opens: usize,
    pub(super) readers: usize,
    pub(super) writers: usize,
    pub(super) deny_read: usize,
    pub(super) deny_write: usize,
}

impl Tally {
    pub(super) fn add(&mut self, access: Access, deny: Deny) {
        self.opens += 1;
        self.readers += usize::from(access.reads());
        self.writers += usize::from(access.writes());
        self.deny_read += usize::from(deny.denies_read());
        self.deny_write += usize::from(deny.denies_write());
    }

    pub(super) fn remove(&mut self, access: Access, deny: Deny) {
        self.opens -= 1;
        self.readers -= usize::from(access.reads());
        self.writers -= usize::from(access.writes());
        self.deny_read -= usize::from(deny.denies_read());
        self.deny_write -= usize::from(deny.denies_write());
    }

    pub(super) fn without(self, own: Self) -> Self {
        Self {
            opens: self.opens - own.opens,
            readers: self.readers - own.readers,
            writers: self.writers - own.writers,
            deny_read: self.deny_read - own.deny_read,
            deny_write: self.deny_write - own.deny_write,
        }
    }

    /// The table of NFSv4 and SMB: an access meets a deny.
    pub(super) fn conflicts(&self, access: Access, deny: Deny) -> bool {
        (access.reads() && self.deny_read > 0)
            || (access.writes() && self.deny_write > 0)
            || (deny.denies_read() && self.readers > 0)
            || (deny.denies_write() && self.writers > 0)
    }

    pub(super) fn deny(&self) -> Deny {
        Deny::new(self.deny_read > 0, self.deny_write > 0)
    }
}
