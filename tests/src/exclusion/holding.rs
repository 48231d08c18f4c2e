//! What a client believes that it holds of one file.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use tokio::time::Instant;
use upcall_client::{Access, Deny, LeaseKind};

use super::claim::{Claim, READ, WRITE};
use crate::sys::handle_of;

/// A file that is looked at without being opened, so that no lease is in the way.
#[derive(Debug)]
pub(super) struct Subject {
    file: File,
    pub(super) kind: i32,
    pub(super) handle: Vec<u8>,
    /// By which the board knows it.
    pub(super) inode: u64,
}

/// By which a change is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: (i64, i64),
}

impl Subject {
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        Self::of(File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?)
    }

    fn of(file: File) -> io::Result<Self> {
        let (kind, handle) = handle_of(&file)?;
        let inode = inode_of(&handle);
        Ok(Self { file, kind, handle, inode })
    }

    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        let metadata = self.file.metadata()?;
        Ok(Stamp { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

/// A number for the inode that a handle is of; the handle also tells inodes apart that have had one number.
pub(super) fn inode_of(handle: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(handle);
    hasher.finish()
}

#[derive(Debug)]
pub(super) struct Holding {
    pub(super) subject: Subject,
    pub(super) open: u64,
    pub(super) held: Claim,
    pub(super) reads: u32,
    pub(super) writes: u32,
    pub(super) since: Instant,
    /// Of when the lease was granted.
    pub(super) stamp: Option<Stamp>,
    /// A change that was seen under the lease, unless a loss is told that excuses it.
    pub(super) changed: Option<String>,
    pub(super) recall: Option<Recall>,
    /// What it holds is not known any more: it is to be closed.
    pub(super) spoiled: bool,
    /// A lock is waited for.
    pub(super) waits: bool,
    /// Numbers of claims whose ends are not known yet.
    pub(super) untold: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Recall {
    pub(super) deadline: Instant,
    /// When it is to be answered.
    pub(super) answer: Instant,
    /// What may be kept allows to go on reading.
    pub(super) keeps_read: bool,
    pub(super) extend: bool,
}

impl Holding {
    pub(super) fn new(subject: Subject, open: u64, access: Access, deny: Deny) -> Self {
        let held = Claim { access: access_bits(access), deny: deny_bits(deny), ..Claim::default() };
        Self {
            subject,
            open,
            held,
            reads: 0,
            writes: 0,
            since: Instant::now(),
            stamp: None,
            changed: None,
            recall: None,
            spoiled: false,
            waits: false,
            untold: Vec::new(),
        }
    }

    pub(super) fn leases(&mut self, kind: LeaseKind) -> &mut u32 {
        match kind {
            LeaseKind::Read => &mut self.reads,
            LeaseKind::Write => &mut self.writes,
        }
    }

    /// Its lease follows from how many it has.
    pub(super) fn count_leases(&mut self) {
        self.held.lease = match (self.reads, self.writes) {
            (0, 0) => 0,
            (_, 0) => READ,
            _ => WRITE,
        };
        if self.held.lease == 0 {
            self.stamp = None;
            self.recall = None;
        }
    }

    /// Looks whether the file is as it was.
    pub(super) fn look(&mut self) -> io::Result<()> {
        let Some(then) = self.stamp else { return Ok(()) };
        let now = self.subject.stamp()?;
        if now != then {
            self.changed = Some(format!("{then:?} at the grant, {now:?} now, under {}", self.held));
        }
        Ok(())
    }
}

pub(super) fn access_bits(access: Access) -> u8 {
    match access {
        Access::Read => READ,
        Access::Write => WRITE,
        Access::Both => READ | WRITE,
    }
}

pub(super) fn deny_bits(deny: Deny) -> u8 {
    match deny {
        Deny::None => 0,
        Deny::Read => READ,
        Deny::Write => WRITE,
        Deny::Both => READ | WRITE,
    }
}
