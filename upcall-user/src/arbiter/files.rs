//! The files of which something is held, and what the kernel holds of each.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use nix::sys::stat::fstat;
use tokio::sync::OnceCell;

use super::{Found, found::FileKey};
use crate::{
    hold::{LeaseKey, Ranges, Sort},
    state::{Deny, InodeId, OpenId, Owner},
};

/// An owner's locks; made by its first.
pub(super) type Locks = Arc<OnceCell<Ranges>>;

#[derive(Debug)]
pub(super) struct File {
    pub(super) found: Arc<Found>,
    pub(super) lease: Option<LeaseKey>,
    /// As of when the kernel's lease was taken or weakened.
    size: Option<i64>,
    /// A lease is about to be taken: nothing that would break it may be opened.
    pub(super) taking: bool,
    /// So often the file may be being opened for locks, by which a lease that is taken meanwhile would break.
    pub(super) opening: usize,
    pub(super) deny: Deny,
    pub(super) owners: HashMap<Owner, Locks>,
    /// By which holders go on writing. Those of opens that have ended stay until somebody looks.
    pub(super) passed: Vec<(OpenId, OwnedFd)>,
    /// In the hub, of what the kernel's lease does not hold.
    pub(super) interest: Option<u64>,
}

impl File {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.found.fd.as_fd()
    }

    pub(super) fn note_size(&mut self) {
        self.size = self.size_now();
    }

    pub(super) fn has_other_size(&self) -> bool {
        self.size != self.size_now()
    }

    fn size_now(&self) -> Option<i64> {
        fstat(self.fd()).ok().map(|stat| stat.st_size)
    }

    /// Whether it may be opened: that would break the daemon's own lease.
    pub(super) fn may_be_opened(&self) -> bool {
        self.found.is_local && self.lease.is_none() && !self.taking
    }

    pub(super) fn sort(&self) -> Sort {
        if self.found.is_directory { Sort::Delegation } else { Sort::Lease }
    }
}

#[derive(Debug, Default)]
pub(super) struct Files {
    last: u64,
    by_key: HashMap<FileKey, InodeId>,
    /// In the order in which they are shown.
    files: BTreeMap<InodeId, File>,
    leases: HashMap<LeaseKey, InodeId>,
}

impl Files {
    /// The number of a file, which stays open until it is removed.
    pub(super) fn enter(&mut self, found: Arc<Found>) -> InodeId {
        // While it is open, no other inode gets its key.
        let key = found.key();
        if let Some(&known) = self.by_key.get(&key) {
            return known;
        }
        self.last += 1;
        let inode = InodeId(self.last);
        let file = File {
            found,
            lease: None,
            size: None,
            taking: false,
            opening: 0,
            deny: Deny::None,
            owners: HashMap::new(),
            passed: Vec::new(),
            interest: None,
        };
        self.by_key.insert(key, inode);
        self.files.insert(inode, file);
        inode
    }

    pub(super) fn remove(&mut self, inode: InodeId) -> Option<File> {
        let file = self.files.remove(&inode)?;
        self.by_key.remove(&file.found.key());
        Some(file)
    }

    pub(super) fn get(&self, inode: InodeId) -> Option<&File> {
        self.files.get(&inode)
    }

    pub(super) fn get_mut(&mut self, inode: InodeId) -> Option<&mut File> {
        self.files.get_mut(&inode)
    }

    pub(super) fn find(&self, key: FileKey) -> Option<InodeId> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (InodeId, &File)> {
        self.from(InodeId(0))
    }

    pub(super) fn from(&self, first: InodeId) -> impl Iterator<Item = (InodeId, &File)> {
        self.files.range(first..).map(|(inode, file)| (*inode, file))
    }

    pub(super) fn set_lease(&mut self, inode: InodeId, lease: LeaseKey) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.lease = Some(lease);
            file.note_size();
            self.leases.insert(lease, inode);
        }
    }

    pub(super) fn take_lease(&mut self, inode: InodeId) -> Option<LeaseKey> {
        let lease = self.files.get_mut(&inode)?.lease.take()?;
        self.leases.remove(&lease);
        Some(lease)
    }

    pub(super) fn leased(&self, lease: LeaseKey) -> Option<InodeId> {
        self.leases.get(&lease).copied()
    }
}
