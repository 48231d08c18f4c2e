//! Leases that the kernel holds.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Instant,
};

use super::{Event, Outcome, on_thread};
use crate::{
    arbiter::run::Task,
    hold::{self, Access, SharedLease, reopen},
    state::{AskId, InodeId, Keep, Kernel as Answer, LeaseKind, OpenId, Who},
};

/// By what a lease is held.
pub(in crate::arbiter) enum Opened {
    /// A description of the daemon's.
    Own(OwnedFd),
    /// The holder's, who goes on writing by it.
    Shared(SharedLease),
}

impl Task {
    pub(in crate::arbiter) fn ask_lease(
        &mut self,
        ask: AskId,
        inode: InodeId,
        kind: LeaseKind,
        open: OpenId,
    ) {
        self.let_go(Some(inode));
        let able =
            self.files.get_mut(inode).filter(|file| file.found.is_local).zip(self.kernel.leases.as_mut());
        let Some((file, leases)) = able else { return self.answered(ask, Answer::Unsupported) };
        if let Some(lease) = file.lease {
            let changed = leases.change(lease, kind.into());
            // Under a READ lease somebody may have truncated it, which is yet to be heard of.
            let truncated = changed.is_ok() && file.has_other_size();
            let answer = changed.map_or_else(|refusal| refused(&refusal, false), |()| Answer::Held);
            self.answered(ask, answer);
            if truncated {
                self.table.outside(inode, Keep::None, |_| false, Who::Unknown, Instant::now());
            }
            return;
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

    pub(in crate::arbiter) fn set_lease(&mut self, inode: InodeId, kind: Option<LeaseKind>) {
        let Some(leases) = self.kernel.leases.as_mut() else { return };
        let Some(file) = self.files.get_mut(inode) else { return };
        let Some(lease) = file.lease else { return };
        // Whoever waits goes on with the change.
        file.note_size();
        if let Some(kind) = kind
            && leases.change(lease, kind.into()).is_ok()
        {
            return;
        }
        leases.release(lease);
        self.files.take_lease(inode);
        if kind.is_some() {
            self.table.lease_lost(inode, Instant::now());
        }
    }

    pub(super) fn lease_opened(
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
