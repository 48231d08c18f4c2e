//! Interests are made: the inode gets a slot, and the client learns from which version on it is told.
//!
//! In slices: all inodes of one are identified, then given slots, then looked at again, since what they are like once
//! every change marks them is what belongs to the version that the client is told.

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use upcall_common::{
    abi::{Attrs, Originator, PROBES, Probe},
    change::{DATA, FORGET, SIZE, TIMES},
    index::Full,
};

use super::{
    ClientIndex, Hub, Origin, State, Wish,
    settle::{self, UNDER_WAY},
};

/// Interests that are made before others get the lock: as many as the kernel is asked about at once, in about 100 us.
const SLICE: usize = PROBES as usize;

/// An interest to be made.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub file: BorrowedFd<'a>,
    pub origin: Option<Origin>,
    pub wish: Wish,
    pub lifetime: Option<Duration>,
    /// The version the client holds, 0 for none.
    pub known: u64,
}

/// One that is made, but of whose inode nothing is known yet since it is watched.
struct Live {
    interest: u64,
    slot: u32,
    version: u64,
    /// Others were interested before.
    held: bool,
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
    #[error("only regular files and directories that the kernel knows by an inode can be watched")]
    Unsupported,
    #[error("the daemon could not ask the kernel; its log says why")]
    Kernel,
}

impl Hub {
    /// Makes interests; one result each, in their order.
    pub fn register(
        &self,
        client: ClientIndex,
        wanted: Vec<Wanted<'_>>,
    ) -> Vec<Result<Registered, RegisterError>> {
        let mut made = Vec::with_capacity(wanted.len());
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            let slice = wanted.by_ref().take(SLICE).collect();
            let mut state = self.lock();
            let before = state.due();
            made.extend(state.register(client, slice));
            let sooner = state.due().is_sooner_than(&before);
            drop(state);
            // Not for each of them: to wake the dispatcher costs more than an interest.
            if sooner {
                self.reschedule();
            }
        }
        made
    }
}

impl State {
    fn register(
        &mut self,
        client: ClientIndex,
        wanted: Vec<Wanted<'_>>,
    ) -> Vec<Result<Registered, RegisterError>> {
        let files: Vec<BorrowedFd<'_>> = wanted.iter().map(|wanted| wanted.file).collect();
        let terms: Vec<_> = wanted.iter().map(|wanted| (wanted.known, wanted.lifetime)).collect();
        let first = self.identify(&files);
        let live: Vec<_> = wanted
            .into_iter()
            .zip(first)
            .map(|(wanted, probe)| self.start(client, wanted, &probe?))
            .collect();
        // From here on every change marks the slots. What the inodes are like now belongs to the versions now.
        let clock = self.kernel.coarse_realtime();
        let again = self.identify(&files);
        let made = live.into_iter().zip(again).zip(terms).map(|((live, probe), (known, lifetime))| {
            let live = live?;
            let probe = probe.inspect_err(|_| self.withdraw(client, live.interest))?;
            if lifetime.is_some() {
                self.set_lifetime(live.interest, lifetime);
            }
            Ok(self.describe(&live, &probe, known, clock))
        });
        made.collect()
    }

    /// Sees to it that changes of the inode are told from now on.
    fn start(
        &mut self,
        client: ClientIndex,
        wanted: Wanted<'_>,
        probe: &Probe,
    ) -> Result<Live, RegisterError> {
        if self.registry.interests_of(client) >= self.limits.interests_per_client {
            return Err(RegisterError::Limit);
        }
        if !has_contents(probe) {
            return Err(RegisterError::Unsupported);
        }
        let Wanted { origin, wish, .. } = wanted;
        let found = self.slots.find(probe.key);
        let held = found.filter(|slot| self.slots.is_of(*slot, probe.key, probe.generation));
        let slot = match held {
            Some(slot) => {
                self.claim(slot, probe, origin);
                slot
            }
            None => self.watch(probe, origin)?,
        };
        let version = self.slots.get(slot).ok_or(RegisterError::Kernel)?.version();
        match self.registry.register(client, slot, wish, version) {
            Some(interest) => Ok(Live { interest, slot, version, held: held.is_some() }),
            None => {
                if held.is_none() {
                    self.release(slot);
                }
                Err(RegisterError::Kernel)
            }
        }
    }

    /// Takes back an interest of which nobody has been told.
    fn withdraw(&mut self, client: ClientIndex, interest: u64) {
        if let Ok(Some(slot)) = self.registry.unregister(client, interest) {
            self.release(slot);
        }
    }

    /// What a client is told of its new interest, by a look at the inode since it is live. `clock` was read before.
    fn describe(&mut self, live: &Live, probe: &Probe, known: u64, clock: (i64, u32)) -> Registered {
        let &Live { interest, slot, version, held } = live;
        let mut settled = false;
        if let Some(view) = self.slots.get(slot) {
            // It may have left memory and come back since.
            view.set_inode(probe.inode);
            settled = probe.busy == 0 && view.version() == version && !view.is_dirty();
            if settled {
                view.set_attrs(settle::sure_at(version, probe), &probe.attrs);
            }
        }
        let early = self.kernel.marks_early();
        let mut resting = settled && !(early && settle::may_stay_silent(&probe.attrs, clock));
        if probe.busy != 0 {
            // It may have begun before there was anything to mark, and the hook at its end may never run.
            self.note(slot, UNDER_WAY, Originator::Unknown);
        } else if early && !resting {
            self.note(slot, DATA | SIZE | TIMES, Originator::Unknown);
        }
        resting &= !(early && self.trail.contains(slot));
        self.orphan(slot, probe.attrs.nlink);
        resting &= probe.mapped == 0;
        let copied_up = self.follow_layer(slot, probe);
        if copied_up != 0 && held {
            // The others have not been told of what happened before there was an alias.
            let mut wake = Vec::new();
            self.tell(slot, copied_up, &mut wake);
            self.wake(&wake);
            resting = false;
        }
        if !self.trail.contains(slot) {
            self.look_again(slot, probe, self.kernel.coarse_now());
        }
        Registered {
            interest,
            version,
            attrs: (settled && settle::sure_at(version, probe) == version).then_some(probe.attrs),
            unchanged: held && known == version && resting,
        }
    }

    /// Which inodes open files are; one result each.
    pub(super) fn identify(&mut self, files: &[BorrowedFd<'_>]) -> Vec<Result<Probe, RegisterError>> {
        match self.kernel.identify(files) {
            Ok(probes) => probes.into_iter().map(|probe| probe.ok_or(RegisterError::Unsupported)).collect(),
            Err(error) => {
                tracing::error!(%error, "cannot ask the kernel which inodes open files are");
                files.iter().map(|_| Err(RegisterError::Kernel)).collect()
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

/// Only regular files and directories can be watched: the rest has no contents that a client could hold.
fn has_contents(probe: &Probe) -> bool {
    matches!(probe.attrs.mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
}
