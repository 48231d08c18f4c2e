//! An interest is made: the inode gets a slot, and the client learns from which version on it is told.

use std::{os::fd::BorrowedFd, time::Instant};

use upcall_common::{
    abi::{Attrs, Originator, Probe},
    change::{DATA, FORGET, SIZE, TIMES},
    index::Full,
};

use super::{
    ClientIndex, Origin, State, Wish,
    settle::{self, UNDER_WAY},
};

/// An inode to be watched.
#[derive(Debug)]
pub struct Inode<'a> {
    pub fd: BorrowedFd<'a>,
    pub origin: Option<Origin>,
}

/// An interest that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub interest: u64,
    /// The version from which on every change is told.
    pub version: u64,
    pub attrs: Option<Attrs>,
    /// For a client that held a version: nothing has changed since.
    pub unchanged: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    #[error("all slots are in use; raise `slots` in the daemon's configuration")]
    NoSlots,
    #[error(
        "the client has as many interests as it may have; raise `interests_per_client` in the daemon's configuration"
    )]
    Limit,
    #[error("the kernel does not know this file by an inode that can be watched")]
    Unsupported,
    #[error("the daemon could not ask the kernel; its log says why")]
    Kernel,
}

impl State {
    pub(super) fn register(
        &mut self,
        client: ClientIndex,
        inode: Inode<'_>,
        wish: Wish,
        known: u64,
    ) -> Result<Registered, RegisterError> {
        let Inode { fd, origin } = inode;
        if self.registry.interests_of(client) >= self.limits.interests_per_client {
            return Err(RegisterError::Limit);
        }
        let probe = self.identify(fd)?;
        let found = self.slots.find(probe.key);
        let held = found.filter(|slot| self.slots.is_of(*slot, probe.key, probe.generation));
        let slot = match held {
            Some(slot) => {
                self.claim(slot, &probe, origin);
                slot
            }
            None => self.watch(&probe, origin)?,
        };
        let made = self.interest(client, slot, fd, wish, known, held.is_some());
        if made.is_err() && held.is_none() {
            self.release(slot);
        }
        made
    }

    /// Makes an interest in the inode of a slot. `held`: others were interested before.
    fn interest(
        &mut self,
        client: ClientIndex,
        slot: u32,
        fd: BorrowedFd<'_>,
        wish: Wish,
        known: u64,
        held: bool,
    ) -> Result<Registered, RegisterError> {
        // From here on every change marks the slot. What the inode is like now belongs to the version now.
        let view = self.slots.get(slot).ok_or(RegisterError::Kernel)?;
        let version = view.version();
        let clock = self.kernel.coarse_realtime();
        let probe = self.identify(fd)?;
        let view = self.slots.get(slot).ok_or(RegisterError::Kernel)?;
        // It may have left memory and come back since.
        view.set_inode(probe.inode);
        let settled = probe.busy == 0 && view.version() == version && !view.is_dirty();
        let mut resting = settled;
        if settled {
            view.set_attrs(settle::sure_at(version, &probe), &probe.attrs);
        }
        let early = self.kernel.marks_early();
        resting &= !(early && settle::may_stay_silent(&probe.attrs, clock));
        if probe.busy != 0 {
            // It may have begun before there was anything to mark, and the hook at its end may never run.
            self.note(slot, UNDER_WAY, Originator::Unknown);
        } else if early && !resting {
            self.note(slot, DATA | SIZE | TIMES, Originator::Unknown);
        }
        resting &= !(early && self.trail.contains(slot));
        self.orphan(slot, probe.attrs.nlink);
        resting &= probe.mapped == 0;
        let copied_up = self.follow_layer(slot, &probe);
        if copied_up != 0 && held {
            // The others have not been told of what happened before there was an alias.
            let mut wake = Vec::new();
            self.tell(slot, copied_up, &mut wake);
            self.wake(&wake);
            resting = false;
        }
        if !self.trail.contains(slot) {
            self.look_again(slot, &probe, self.kernel.coarse_now());
        }
        let interest = self.registry.register(client, slot, wish, version).ok_or(RegisterError::Kernel)?;
        Ok(Registered {
            interest,
            version,
            attrs: (settled && settle::sure_at(version, &probe) == version).then_some(probe.attrs),
            unchanged: held && known == version && resting,
        })
    }

    pub(super) fn identify(&mut self, fd: BorrowedFd<'_>) -> Result<Probe, RegisterError> {
        match self.kernel.identify(fd) {
            Ok(Some(probe)) => Ok(probe),
            Ok(None) => Err(RegisterError::Unsupported),
            Err(error) => {
                tracing::error!(%error, "cannot ask the kernel which inode a descriptor is");
                Err(RegisterError::Kernel)
            }
        }
    }

    /// Gives an inode a slot and tells the kernel.
    fn watch(&mut self, probe: &Probe, origin: Option<Origin>) -> Result<u32, RegisterError> {
        let now = Instant::now();
        if let Some(slot) = self.slots.find(probe.key) {
            // The number has a new owner, so the old inode is gone.
            let mut wake = Vec::new();
            self.tell(slot, FORGET, &mut wake);
            self.wake(&wake);
        }
        self.make_room();
        let slot = self.slots.allocate(probe.key, probe.generation, now).ok_or(RegisterError::NoSlots)?;
        let view = self.slots.get(slot).ok_or(RegisterError::NoSlots)?;
        view.set_inode(probe.inode);
        let version = view.version();
        if let Err(Full) = self.slots.enter(slot) {
            self.slots.free(slot, now);
            return Err(RegisterError::NoSlots);
        }
        self.registry.watch(slot, probe, origin, version);
        self.devices.insert(probe.key.dev);
        Ok(slot)
    }
}
