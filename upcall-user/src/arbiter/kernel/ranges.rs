//! Byte ranges that the kernel locks.

use std::{io, os::fd::AsFd, sync::Arc};

use tokio::sync::oneshot;
use upcall_common::wire::{self, Code};

use super::{Event, Outcome, on_thread};
use crate::{
    arbiter::{Found, clients::finish, convert::blocker, files::Locks, run::Task},
    hold::{self, Access, RangeError, RangeKind, Ranges},
    state::{AskId, Connection, InodeId, Kernel as Answer, Owner, Range, Who},
};

/// A LOCK_TEST.
pub(in crate::arbiter) struct Test {
    pub(in crate::arbiter) connection: Connection,
    pub(in crate::arbiter) tag: u32,
    pub(in crate::arbiter) asked: wire::LockTest,
    pub(in crate::arbiter) done: oneshot::Sender<()>,
}

impl Task {
    pub(in crate::arbiter) fn ask_range(
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

    pub(in crate::arbiter) fn cancel_range(&mut self, ask: AskId) {
        self.kernel.waits.remove(&ask);
    }

    pub(in crate::arbiter) fn set_range(
        &mut self,
        inode: InodeId,
        owner: Owner,
        range: Range,
        kind: Option<RangeKind>,
    ) {
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

    pub(in crate::arbiter) fn test_range(
        &mut self,
        inode: Option<InodeId>,
        owner: Owner,
        range: Range,
        test: Test,
    ) {
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

    pub(super) fn tested(&mut self, test: Test, found: Option<hold::Conflict>) {
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

    pub(super) fn opened_for_locks(&mut self, inode: InodeId) {
        if let Some(file) = self.files.get_mut(inode) {
            file.opening -= 1;
        }
    }
}

fn state_kind(kind: wire::LockKind) -> RangeKind {
    crate::state::LockKind::from(kind).into()
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
