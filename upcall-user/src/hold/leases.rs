//! Leases that the kernel holds for us, and their breaks.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use upcall_common::abi::Key;

use super::{Access, Breaks, LeaseKind, Refusal, reopen};
use crate::sys::{
    lease::{self, Level, Sort},
    signal,
};

/// Names a lease for as long as there are leases; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseKey(u64);

/// Somebody waits, or was told to try later, until the lease is given up or downgraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    pub lease: LeaseKey,
    /// What may be kept.
    pub keep: Option<LeaseKind>,
    /// The process, where it is known.
    pub by: Option<u32>,
}

/// The daemon's leases. They end with the process, but for those by a description of which others have descriptors.
///
/// A **lease** makes local processes wait in `open` and `truncate`, nowhere else: `rename`, `unlink`, `link`, `chmod`,
/// `chown`, `utimes` and extended attributes do not break it, and neither does a write through a description from before
/// (beside which a READ lease is therefore not granted). What these do is heard of as a change, after it. A
/// **delegation** makes them wait for these too, and works for directories: Linux 6.19 and later; elsewhere it is
/// [`Refusal::Unsupported`].
///
/// An opener with `O_NONBLOCK` gets `EWOULDBLOCK` at once and breaks the lease all the same.
///
/// No break is lost: each is written to a ring, and when that was full every lease is looked at. What is read is only a
/// hint to look: what is told comes from the lease itself. Whoever shares a description may give up its lease, which
/// nothing tells; so all are looked at every [`PATROL`] as well.
pub struct Leases {
    breaks: Breaks,
    patrol: Interval,
    held: HashMap<LeaseKey, Held>,
    by_inode: HashMap<Key, LeaseKey>,
    /// Those of which the kernel has said something, and who did it; no more than there are leases.
    to_look: BTreeMap<LeaseKey, Option<u32>>,
    /// All are to be looked at, from then on.
    all_from: Option<Instant>,
    all_last: Instant,
    last: u64,
}

struct Held {
    inode: Key,
    file: Description,
    sort: Sort,
    kind: LeaseKind,
    /// What it may stay, as far as told.
    told: Level,
}

/// By what it is held. To drop it is to release the lease.
enum Description {
    /// Nobody else has a descriptor of it.
    Own(OwnedFd),
    Shared(SharedLease),
}

impl Description {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(file) | Self::Shared(SharedLease(file)) => file.as_fd(),
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self, Self::Shared(_))
    }
}

/// Leases looked at in one turn.
const LOOKS: usize = 64;
/// Between two looks at all leases because of breaks that the ring had no room for.
const APART: Duration = Duration::from_millis(100);

/// Between two looks at all leases, whatever the kernel has said.
pub const PATROL: Duration = Duration::from_secs(5);

/// A lease by a description of which others have descriptors as well, and may write; see [`share`].
#[derive(Debug)]
pub struct SharedLease(OwnedFd);

impl Drop for SharedLease {
    fn drop(&mut self) {
        // The others keep the description, and would keep the lease.
        if let Err(error) = lease::set(self.0.as_fd(), Sort::Lease, Level::None) {
            tracing::debug!(%error, "a lease was gone when it was released");
        }
    }
}

/// Takes a WRITE lease by a description that somebody passed and that may write, so that who has it can go on writing.
/// It cannot be downgraded. Waits for a process to end.
pub fn share(file: OwnedFd) -> Result<SharedLease, Refusal> {
    lease::set_shared(file.as_fd(), Level::Write)?;
    Ok(SharedLease(file))
}

impl Leases {
    /// To be called in the runtime that is to wait for breaks.
    pub fn new(breaks: Breaks) -> io::Result<Self> {
        signal::ignore_io()?;
        let mut patrol = interval_at(Instant::now() + PATROL, PATROL);
        patrol.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (held, by_inode, to_look) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        let (all_from, all_last) = (None, Instant::now());
        Ok(Self { breaks, patrol, held, by_inode, to_look, all_from, all_last, last: 0 })
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes a lease of a file, by a description of its own that is open for reading: that is enough for both kinds,
    /// and one for writing could not be downgraded. The descriptor that names the file should be `O_PATH`: any other is
    /// itself an opener, and in the way of a WRITE lease. At most one lease an inode: a WRITE lease breaks by the next.
    pub fn take(
        &mut self,
        file: BorrowedFd<'_>,
        inode: Key,
        sort: Sort,
        kind: LeaseKind,
    ) -> Result<LeaseKey, Refusal> {
        self.take_by(reopen(file, Access::Read)?, inode, sort, kind)
    }

    /// The same by a description that [`reopen`] has made, where that may wait.
    pub fn take_by(
        &mut self,
        file: OwnedFd,
        inode: Key,
        sort: Sort,
        kind: LeaseKind,
    ) -> Result<LeaseKey, Refusal> {
        lease::set(file.as_fd(), sort, level(kind))?;
        Ok(self.insert(Held { inode, file: Description::Own(file), sort, kind, told: level(kind) }))
    }

    pub fn adopt(&mut self, lease: SharedLease, inode: Key) -> LeaseKey {
        let (sort, kind) = (Sort::Lease, LeaseKind::Write);
        let file = Description::Shared(lease);
        let key = self.insert(Held { inode, file, sort, kind, told: level(kind) });
        // It may have been broken since it was taken, when nobody knew of it here.
        self.to_look.insert(key, None);
        key
    }

    fn insert(&mut self, held: Held) -> LeaseKey {
        self.last += 1;
        let key = LeaseKey(self.last);
        self.by_inode.insert(held.inode, key);
        self.held.insert(key, held);
        key
    }

    /// Downgrades to READ, by which whoever waits to read goes on, or upgrades to WRITE. On failure it stays what it
    /// was. [`Refusal::Broken`]: it may not be kept as that, or is gone.
    pub fn change(&mut self, key: LeaseKey, kind: LeaseKind) -> Result<(), Refusal> {
        let held = self.held.get_mut(&key).ok_or(Refusal::Broken)?;
        // One that the kernel has taken away would be taken anew, although somebody changed the file meanwhile.
        if lease::get(held.file.fd(), held.sort)? < level(held.kind.min(kind)) {
            return Err(Refusal::Broken);
        }
        match held.file.is_shared() {
            // Others have it open for writing. To take it anew would make this process the one to be signalled.
            true if kind == held.kind => return Ok(()),
            true => return Err(Refusal::Open),
            false => lease::set(held.file.fd(), held.sort, level(kind))?,
        }
        (held.kind, held.told) = (kind, level(kind));
        Ok(())
    }

    /// Whether somebody waits for it to be given up or downgraded.
    pub fn is_breaking(&self, key: LeaseKey) -> bool {
        let Some(held) = self.held.get(&key) else { return false };
        lease::get(held.file.fd(), held.sort).is_ok_and(|now| now < level(held.kind))
    }

    /// Gives up the lease and closes its description: whoever waits goes on. Nothing happens if it is gone.
    pub fn release(&mut self, key: LeaseKey) {
        let Some(held) = self.held.remove(&key) else { return };
        self.to_look.remove(&key);
        if self.by_inode.get(&held.inode) == Some(&key) {
            self.by_inode.remove(&held.inode);
        }
    }

    /// Waits for a lease to be broken. Each step of a break is told once: to READ, and to none. Nothing is lost if the
    /// wait is given up. `None`: not yet, but others should have their turn, since anybody may break leases of their own
    /// without an end.
    pub async fn broken(&mut self) -> io::Result<Option<Break>> {
        let mut looks = 0;
        loop {
            while let Some((key, by)) = self.to_look.pop_first() {
                if let Some(found) = self.look(key, by)? {
                    return Ok(Some(found));
                }
                looks += 1;
                if looks == LOOKS {
                    return Ok(None);
                }
            }
            let all_from = self.all_from;
            tokio::select! {
                told = self.breaks.read() => {
                    let told = told?;
                    for broken in told.broken {
                        if let Some(lease) = self.by_inode.get(&broken.inode) {
                            self.to_look.insert(*lease, Some(broken.by).filter(|&by| by != 0));
                        }
                    }
                    if told.lost > 0 {
                        tracing::debug!(lost = told.lost, "so many leases broke at once that all are looked at");
                        self.all_from.get_or_insert(self.all_last + APART);
                    }
                    if self.to_look.is_empty() {
                        return Ok(None);
                    }
                }
                () = sleep_until(all_from.unwrap_or(self.all_last)), if all_from.is_some() => self.look_at_all(),
                _ = self.patrol.tick(), if !self.held.is_empty() => self.look_at_all(),
            }
        }
    }

    fn look_at_all(&mut self) {
        (self.all_from, self.all_last) = (None, Instant::now());
        for key in self.held.keys() {
            self.to_look.entry(*key).or_default();
        }
    }

    fn look(&mut self, key: LeaseKey, by: Option<u32>) -> io::Result<Option<Break>> {
        // The record may be older than the lease.
        let Some(held) = self.held.get_mut(&key) else { return Ok(None) };
        let now = lease::get(held.file.fd(), held.sort)?;
        if now >= held.told {
            return Ok(None);
        }
        held.told = now;
        let keep = (now == Level::Read && !held.file.is_shared()).then_some(LeaseKind::Read);
        Ok(Some(Break { lease: key, keep, by }))
    }
}

const fn level(kind: LeaseKind) -> Level {
    match kind {
        LeaseKind::Read => Level::Read,
        LeaseKind::Write => Level::Write,
    }
}
