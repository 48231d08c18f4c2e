//! Leases that the kernel holds for us, and their breaks.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use tokio::task::coop;

use super::{Access, LeaseKind, Refusal, reopen};
use crate::sys::{
    lease::{self, Level, Sort},
    signal::{FileSignals, Sent, file_signal},
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
}

/// The daemon's leases. They end with the process.
///
/// A **lease** makes local processes wait in `open` and `truncate`, nowhere else: `rename`, `unlink`, `link`, `chmod`,
/// `chown`, `utimes` and extended attributes do not break it, and neither does a write through a description from before
/// (beside which a READ lease is therefore not granted). What these do is heard of as a change, after it. A
/// **delegation** makes them wait for these too, and works for directories: Linux 6.19 and later; elsewhere it is
/// [`Refusal::Unsupported`].
///
/// An opener with `O_NONBLOCK` gets `EWOULDBLOCK` at once and breaks the lease all the same.
///
/// No break is lost: the kernel queues a real-time signal that names the file, and when its queue is full sends `SIGIO`,
/// upon which every lease is looked at. A signal is only a hint to look: what is told comes from the lease itself.
#[derive(Debug)]
pub struct Leases {
    signals: FileSignals,
    held: HashMap<RawFd, Held>,
    numbers: HashMap<LeaseKey, RawFd>,
    /// Those of which the kernel has said something; a set, so that no more waits than there are leases.
    to_look: BTreeSet<RawFd>,
    last: u64,
}

#[derive(Debug)]
struct Held {
    key: LeaseKey,
    file: OwnedFd,
    sort: Sort,
    kind: LeaseKind,
    /// What it may stay, as far as told.
    told: Level,
    /// Somebody else has descriptors of the description, and may write.
    is_shared: bool,
}

impl Leases {
    /// Belongs to the thread that runs the current tokio runtime, which must be a single-threaded one: it is sent the
    /// breaks, and alone can hear of them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            signals: FileSignals::of_this_thread()?,
            held: HashMap::new(),
            numbers: HashMap::new(),
            to_look: BTreeSet::new(),
            last: 0,
        })
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
    pub fn take(&mut self, file: BorrowedFd<'_>, sort: Sort, kind: LeaseKind) -> Result<LeaseKey, Refusal> {
        self.take_by(reopen(file, Access::Read)?, sort, kind)
    }

    /// The same by a description that [`reopen`] has made, where that may wait.
    pub fn take_by(&mut self, file: OwnedFd, sort: Sort, kind: LeaseKind) -> Result<LeaseKey, Refusal> {
        self.insert(file, sort, kind, false)
    }

    /// A WRITE lease by a description that somebody passed and that may write, so that who has it can go on writing. It
    /// cannot be downgraded. Whoever has it may choose the signal of the lease's breaks, `SIGKILL` for this process
    /// included: only for those who could kill the daemon anyway.
    pub fn take_shared(&mut self, file: OwnedFd) -> Result<LeaseKey, Refusal> {
        self.insert(file, Sort::Lease, LeaseKind::Write, true)
    }

    fn insert(
        &mut self,
        file: OwnedFd,
        sort: Sort,
        kind: LeaseKind,
        is_shared: bool,
    ) -> Result<LeaseKey, Refusal> {
        lease::tell(file.as_fd(), self.signals.thread(), file_signal())?;
        lease::set(file.as_fd(), sort, level(kind))?;
        self.last += 1;
        let (key, number) = (LeaseKey(self.last), file.as_raw_fd());
        self.numbers.insert(key, number);
        self.held.insert(number, Held { key, file, sort, kind, told: level(kind), is_shared });
        Ok(key)
    }

    /// Downgrades to READ, by which whoever waits to read goes on, or upgrades to WRITE. On failure it stays what it
    /// was. [`Refusal::Broken`]: it may not be kept as that, or is gone.
    pub fn change(&mut self, key: LeaseKey, kind: LeaseKind) -> Result<(), Refusal> {
        let held = self.numbers.get(&key).and_then(|number| self.held.get_mut(number));
        let held = held.ok_or(Refusal::Broken)?;
        // One that the kernel has taken away would be taken anew, although somebody changed the file meanwhile.
        if lease::get(held.file.as_fd(), held.sort)? < level(held.kind.min(kind)) {
            return Err(Refusal::Broken);
        }
        lease::set(held.file.as_fd(), held.sort, level(kind))?;
        (held.kind, held.told) = (kind, level(kind));
        Ok(())
    }

    /// Gives up the lease and closes its description: whoever waits goes on. Nothing happens if it is gone.
    pub fn release(&mut self, key: LeaseKey) {
        let Some(held) = self.numbers.remove(&key).and_then(|number| self.held.remove(&number)) else {
            return;
        };
        self.to_look.remove(&held.file.as_raw_fd());
        if held.is_shared
            && let Err(error) = lease::set(held.file.as_fd(), held.sort, Level::None)
        {
            tracing::debug!(%error, "a lease was gone when it was released");
        }
        // The last descriptor of its description, if nobody shares it: to close it is to release the lease.
        drop(held);
    }

    /// Waits for a lease to be broken. Each step of a break is told once: to READ, and to none. Nothing is lost if the
    /// wait is given up.
    pub async fn broken(&mut self) -> io::Result<Break> {
        loop {
            while let Some(number) = self.to_look.pop_first() {
                if let Some(found) = self.look(number)? {
                    return Ok(found);
                }
                coop::consume_budget().await;
            }
            for sent in self.signals.read().await? {
                match sent {
                    Sent::File(number) => {
                        self.to_look.insert(number);
                    }
                    Sent::Overflow => self.to_look.extend(self.held.keys()),
                }
            }
        }
    }

    fn look(&mut self, number: RawFd) -> io::Result<Option<Break>> {
        // A signal may be older than the lease that has the number now.
        let Some(held) = self.held.get_mut(&number) else { return Ok(None) };
        let now = lease::get(held.file.as_fd(), held.sort)?;
        if now >= held.told {
            return Ok(None);
        }
        held.told = now;
        let keep = (now == Level::Read && !held.is_shared).then_some(LeaseKind::Read);
        Ok(Some(Break { lease: held.key, keep }))
    }
}

const fn level(kind: LeaseKind) -> Level {
    match kind {
        LeaseKind::Read => Level::Read,
        LeaseKind::Write => Level::Write,
    }
}
