//! What is asked of the kernel, and its answers.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use tokio::{sync::oneshot, time::timeout};
use upcall_common::{
    abi::{Key, Offsets},
    wire::{self, Code},
};

use super::{
    Found, Switches,
    clients::finish,
    convert::blocker,
    files::{File, Locks},
    run::{SCAN, Task},
};
use crate::{
    hold::{
        self, Access, Break, Leases, Programs, RangeError, RangeKind, Ranges, Search, SharedLease, Shares,
        reopen,
    },
    state::{
        AskId, ClientId, Connection, Deny, InodeId, Kernel as Answer, LeaseKind, OpenId, Owner, Range, Who,
    },
};

/// What ends elsewhere.
pub(super) enum Event {
    /// A session.
    Left(Connection),
    Kernel(Outcome),
}

pub(super) enum Outcome {
    Lease { ask: AskId, inode: InodeId, kind: LeaseKind, opened: Result<Opened, hold::Refusal> },
    Deny { ask: AskId, inode: InodeId, before: Deny, wanted: Deny, searched: io::Result<Search> },
    Range { ask: AskId, inode: InodeId, answer: Answer },
    Tested { test: Test, inode: InodeId, found: Option<hold::Conflict> },
}

/// By what a lease is held.
pub(super) enum Opened {
    /// A description of the daemon's.
    Own(OwnedFd),
    /// The holder's, who goes on writing by it.
    Shared(SharedLease),
}

/// A LOCK_TEST.
pub(super) struct Test {
    pub(super) connection: Connection,
    pub(super) tag: u32,
    pub(super) asked: wire::LockTest,
    pub(super) done: oneshot::Sender<()>,
}

/// The kernel's means, as far as they are enabled and there.
pub(super) struct Kernel {
    leases: Option<Leases>,
    shares: Option<Shares>,
    delegates: bool,
    /// Of locks that are waited for: gone, the wait ends.
    waits: HashMap<AskId, oneshot::Sender<()>>,
}

impl Kernel {
    pub(super) fn new(switches: Switches, offsets: &Offsets) -> io::Result<Self> {
        const ADVISORY: &str = "share reservations are advisory";
        let denies = switches.shares && available(ADVISORY, Shares::check()).is_some();
        let mut programs = (switches.leases || denies)
            .then(|| available("local processes are not held", Programs::open(offsets)))
            .flatten();
        let breaks = programs.as_mut().filter(|_| switches.leases).map(Programs::breaks);
        let breaks = breaks.and_then(|loaded| available("leases are advisory", loaded));
        let leases = breaks.map(Leases::new).transpose()?;
        let shares = programs.filter(|_| denies).map(Programs::shares);
        let shares = shares.and_then(|loaded| available(ADVISORY, loaded));
        let delegates = leases.is_some() && hold::delegates();
        Ok(Self { leases, shares, delegates, waits: HashMap::new() })
    }

    pub(super) fn leases(&self) -> bool {
        self.leases.is_some()
    }

    pub(super) fn denies(&self) -> bool {
        self.shares.is_some()
    }

    pub(super) fn delegates(&self) -> bool {
        self.delegates
    }

    /// Waits for a lease to be broken.
    pub(super) async fn broken(&mut self) -> io::Result<Break> {
        match &mut self.leases {
            Some(leases) => leases.broken().await,
            None => std::future::pending().await,
        }
    }

    fn deny(&mut self, key: Key, deny: Deny) -> bool {
        let Some(shares) = &mut self.shares else { return false };
        let done = shares.deny(key, deny.into());
        if let Err(error) = &done {
            tracing::error!(%error, "cannot tell the kernel what to deny");
        }
        done.is_ok()
    }
}

fn available<T>(without: &str, loaded: Result<T, hold::Unsupported>) -> Option<T> {
    loaded.map_err(|why| tracing::info!(%why, "{without}")).ok()
}

impl Task {
    pub(super) fn answered(&mut self, ask: AskId, answer: Answer) {
        self.table.answered(ask, answer, Instant::now());
    }

    pub(super) fn ask_lease(&mut self, ask: AskId, inode: InodeId, kind: LeaseKind, open: OpenId) {
        self.let_go(Some(inode));
        let able =
            self.files.get_mut(inode).filter(|file| file.found.is_local).zip(self.kernel.leases.as_mut());
        let Some((file, leases)) = able else { return self.answered(ask, Answer::Unsupported) };
        if let Some(lease) = file.lease {
            let changed = leases.change(lease, kind.into());
            let answer = changed.map_or_else(|refusal| refused(&refusal, false), |()| Answer::Held);
            return self.answered(ask, answer);
        }
        if file.opening > 0 {
            return self.answered(ask, Answer::Unsupported);
        }
        let passed = file.passed.iter().find(|(of, _)| kind == LeaseKind::Write && *of == open);
        let passed = passed.map(|(_, passed)| passed.try_clone()).transpose();
        file.taking = true;
        let found = Arc::clone(&file.found);
        self.events.spawn(async move {
            let open = move || match passed? {
                Some(passed) => Ok(hold::share(passed).map(Opened::Shared)),
                None => reopen(found.fd.as_fd(), Access::Read).map(|own| Ok(Opened::Own(own))),
            };
            let opened = on_thread(open).await.map_err(hold::Refusal::from).flatten();
            Event::Kernel(Outcome::Lease { ask, inode, kind, opened })
        });
    }

    pub(super) fn set_lease(&mut self, inode: InodeId, kind: Option<LeaseKind>) {
        let Some(leases) = self.kernel.leases.as_mut() else { return };
        let Some(lease) = self.files.get(inode).and_then(|file| file.lease) else { return };
        if let Some(kind) = kind
            && leases.change(lease, kind.into()).is_ok()
        {
            self.files.get_mut(inode).into_iter().for_each(File::note_size);
            return;
        }
        leases.release(lease);
        self.files.take_lease(inode);
        if kind.is_some() {
            self.table.lease_lost(inode, Instant::now());
        }
    }

    pub(super) fn ask_deny(&mut self, ask: AskId, inode: InodeId, wanted: Deny, client: ClientId) {
        let Some(file) = self.files.get_mut(inode) else { return self.answered(ask, Answer::Unsupported) };
        let before = file.deny;
        // First, so that nobody comes in between the search and the answer.
        if self.kernel.deny(file.found.key, wanted) {
            file.deny = wanted;
        }
        let found = Arc::clone(&file.found);
        // Nobody has it open in a way that was denied before. Who asks may: its own opens are its own affair.
        let (more, asker) = (wanted.without(before), self.clients.pid(client));
        let denied = move |opener: hold::Opener| {
            opener.pid != asker
                && (more.denies_write() && opener.access.writes()
                    || more.denies_read() && opener.access.reads())
        };
        self.events.spawn(async move {
            let search = on_thread(move || hold::find_opener(found.fd.as_fd(), denied, SCAN));
            // A file that somebody serves who does not answer keeps the thread, but not the request.
            let searched = timeout(2 * SCAN, search).await.unwrap_or(Ok(Search::Cut));
            Event::Kernel(Outcome::Deny { ask, inode, before, wanted, searched })
        });
    }

    pub(super) fn set_deny(&mut self, inode: InodeId, deny: Deny) {
        if let Some(file) = self.files.get_mut(inode)
            && self.kernel.deny(file.found.key, deny)
        {
            file.deny = deny;
        }
    }

    pub(super) fn ask_range(
        &mut self,
        ask: AskId,
        inode: InodeId,
        owner: Owner,
        range: Range,
        how: (RangeKind, bool),
    ) {
        let (kind, wait) = how;
        // One for writing would be in the way of `execve` and of leases.
        let access = if self.table.writes(owner.client, inode) { Access::Both } else { Access::Read };
        let Some(file) = self.files.get_mut(inode).filter(|file| file.may_be_opened()) else {
            return self.answered(ask, Answer::Unsupported);
        };
        let locks = Arc::clone(file.owners.entry(owner).or_default());
        if let Some(ranges) = locks.get() {
            match try_lock(ranges, range, kind) {
                Answer::Refused(_) if wait => {}
                answer => return self.answered(ask, answer),
            }
        }
        file.opening += 1;
        let (cancel, cancelled) = oneshot::channel::<()>();
        self.kernel.waits.insert(ask, cancel);
        let found = Arc::clone(&file.found);
        self.events.spawn(async move {
            let answer = match opened(&locks, found, access).await {
                Ok(ranges) if wait => tokio::select! {
                    biased;
                    _ = cancelled => Answer::Cancelled,
                    answer = wait_for_lock(ranges, range, kind) => answer,
                },
                Ok(ranges) => try_lock(ranges, range, kind),
                Err(answer) => answer,
            };
            Event::Kernel(Outcome::Range { ask, inode, answer })
        });
    }

    pub(super) fn cancel_range(&mut self, ask: AskId) {
        self.kernel.waits.remove(&ask);
    }

    pub(super) fn set_range(&mut self, inode: InodeId, owner: Owner, range: Range, kind: Option<RangeKind>) {
        let locks = self.files.get(inode).and_then(|file| file.owners.get(&owner));
        let Some(ranges) = locks.and_then(|locks| locks.get()) else { return };
        let done = match kind {
            Some(kind) => ranges.lock(kind, range.into()),
            None => ranges.unlock(range.into()),
        };
        if let Err(error) = done {
            tracing::error!(%error, "cannot weaken a lock");
        }
    }

    pub(super) fn test_range(&mut self, inode: Option<InodeId>, owner: Owner, range: Range, test: Test) {
        let kind = state_kind(test.asked.kind);
        // Beside a lease there are no local locks.
        let file = inode.and_then(|inode| self.files.get_mut(inode)).filter(|file| file.may_be_opened());
        let Some((file, inode)) = file.zip(inode) else { return self.tested(test, None) };
        if let Some(ranges) = file.owners.get(&owner).and_then(|locks| locks.get()) {
            let found = ranges.test(kind, range.into()).ok().flatten();
            return self.tested(test, found);
        }
        file.opening += 1;
        let found = Arc::clone(&file.found);
        self.events.spawn(async move {
            let looked = on_thread(move || {
                let ranges = Ranges::open(found.fd.as_fd(), Access::Read)?;
                ranges.test(kind, range.into()).map_err(io::Error::other)
            });
            Event::Kernel(Outcome::Tested { test, inode, found: looked.await.ok().flatten() })
        });
    }

    fn tested(&mut self, test: Test, found: Option<hold::Conflict>) {
        let Test { connection, tag, asked, done } = test;
        let found = found.map(|it| {
            let kind = match it.kind {
                RangeKind::Read => wire::LockKind::Read,
                RangeKind::Write => wire::LockKind::Write,
            };
            (Code::LocalConflict, kind, it.range, it.pid.map_or(wire::Who::Unknown, wire::Who::Process))
        });
        self.clients.answer(connection, tag, blocker(found, &asked));
        finish(Some(done));
    }

    pub(super) fn kernel_done(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Lease { ask, inode, kind, opened } => {
                let answer = self.lease_opened(inode, kind, opened);
                self.answered(ask, answer);
            }
            Outcome::Deny { ask, inode, before, wanted, searched } => {
                let answer = self.openers_found(inode, before, wanted, searched);
                self.answered(ask, answer);
            }
            Outcome::Range { ask, inode, answer } => {
                self.kernel.waits.remove(&ask);
                self.opened_for_locks(inode);
                self.answered(ask, answer);
            }
            Outcome::Tested { test, inode, found } => {
                self.opened_for_locks(inode);
                self.tested(test, found);
            }
        }
    }

    fn opened_for_locks(&mut self, inode: InodeId) {
        if let Some(file) = self.files.get_mut(inode) {
            file.opening -= 1;
        }
    }

    fn lease_opened(
        &mut self,
        inode: InodeId,
        kind: LeaseKind,
        opened: Result<Opened, hold::Refusal>,
    ) -> Answer {
        let Some((file, leases)) = self.files.get_mut(inode).zip(self.kernel.leases.as_mut()) else {
            return Answer::Unsupported;
        };
        file.taking = false;
        let key = file.found.key;
        let taken = opened.and_then(|opened| match opened {
            Opened::Own(opened) => Ok((leases.take_by(opened, key, file.sort(), kind.into())?, Answer::Held)),
            Opened::Shared(lease) => Ok((leases.adopt(lease, key), Answer::HeldWhole)),
        });
        match taken {
            Ok((lease, answer)) => {
                self.files.set_lease(inode, lease);
                answer
            }
            // The descriptions of its locks are in the way.
            Err(refusal) => refused(&refusal, !file.owners.is_empty()),
        }
    }

    fn openers_found(
        &mut self,
        inode: InodeId,
        before: Deny,
        wanted: Deny,
        searched: io::Result<Search>,
    ) -> Answer {
        let enforced = self.files.get(inode).is_some_and(|file| file.deny == wanted);
        let answer = match searched {
            Ok(Search::Nobody) if enforced => return Answer::Held,
            Ok(Search::Nobody) => Answer::Unsupported,
            Ok(Search::Found(opener)) => Answer::Refused(Who::Process(opener.pid)),
            Ok(Search::Cut) => {
                tracing::warn!("not all processes could be looked at for who has a file open");
                Answer::Unsupported
            }
            Err(error) => {
                tracing::error!(%error, "cannot look for who has a file open");
                Answer::Unsupported
            }
        };
        self.set_deny(inode, before);
        answer
    }
}

fn state_kind(kind: wire::LockKind) -> RangeKind {
    crate::state::LockKind::from(kind).into()
}

/// `locked`: the daemon itself has the file open, for locks.
fn refused(refusal: &hold::Refusal, locked: bool) -> Answer {
    match refusal {
        hold::Refusal::Open if locked => Answer::Unsupported,
        hold::Refusal::Open | hold::Refusal::Broken => Answer::Refused(Who::Unknown),
        hold::Refusal::Unsupported => Answer::Unsupported,
        other => {
            tracing::error!(error = %other, "cannot take a lease");
            Answer::Unsupported
        }
    }
}

/// Opens the file for an owner's locks if that has not been done yet.
async fn opened(locks: &Locks, found: Arc<Found>, access: Access) -> Result<&Ranges, Answer> {
    let opened = locks.get_or_try_init(|| on_thread(move || open_for_locks(&found, access))).await;
    opened.map_err(|error| match error.kind() {
        // Somebody else's lease is in the way.
        io::ErrorKind::WouldBlock => Answer::Refused(Who::Unknown),
        _ => {
            tracing::debug!(%error, "cannot open a file for locks");
            Answer::Unsupported
        }
    })
}

/// Where nobody may write, for reading.
fn open_for_locks(found: &Found, access: Access) -> io::Result<Ranges> {
    Ranges::open(found.fd.as_fd(), access).or_else(|error| match error.raw_os_error() {
        Some(libc::EROFS | libc::ETXTBSY | libc::EPERM | libc::EACCES) => {
            Ranges::open(found.fd.as_fd(), Access::Read)
        }
        _ => Err(error),
    })
}

async fn wait_for_lock(ranges: &Ranges, range: Range, kind: RangeKind) -> Answer {
    if !ranges.locks(kind) {
        return Answer::Unsupported;
    }
    lock_answer(ranges, ranges.wait(kind, range.into()).await, kind, range)
}

fn try_lock(ranges: &Ranges, range: Range, kind: RangeKind) -> Answer {
    if !ranges.locks(kind) {
        return Answer::Unsupported;
    }
    lock_answer(ranges, ranges.lock(kind, range.into()), kind, range)
}

fn lock_answer(ranges: &Ranges, done: Result<(), RangeError>, kind: RangeKind, range: Range) -> Answer {
    match done {
        Ok(()) => Answer::Held,
        Err(RangeError::Conflict) => {
            let conflict = ranges.test(kind, range.into()).ok().flatten();
            let pid = conflict.and_then(|conflict| conflict.pid);
            Answer::Refused(pid.map_or(Who::Unknown, Who::Process))
        }
        Err(error) => {
            tracing::error!(%error, "cannot lock a range");
            Answer::Unsupported
        }
    }
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
