//! The heart of the daemon: takes changes off dirty slots, finds who is interested, and keeps what waits for
//! each client. One lock guards it all; it is held for computing and for asking the kernel, never where that could
//! wait.

mod adopt;
mod clients;
mod devices;
mod kernel;
mod layers;
mod lifetimes;
mod names;
mod orphans;
mod registry;
mod settle;
mod slots;
mod status;
mod trail;
mod unclaimed;
mod unmount;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

use std::{
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use upcall_common::{
    abi::{Attrs, Key, Originator, Probe},
    change::{ALL, DATA, EARLY, FORGET, NET, NLINK, SIZE, TIMES},
};

pub use clients::{ClientInfo, Process};
pub use kernel::{Kernel, KernelCounts};
pub use names::{Directory, Mark, Named, Names, Waiting};
pub use registry::{Account, ClientIndex, NoInterest, Origin, Wish};
pub use settle::Gone;
pub use slots::{Slots, Words};
pub use status::{ClientStatus, HubStatus, Totals};
pub use unmount::Look;

use clients::Clients;
use devices::Devices;
use lifetimes::Lifetimes;
use names::Directories;
use registry::{Dropped, Registry, Taken};
use trail::Trail;
use unclaimed::Unclaimed;

/// Bounds on what clients may make the daemon hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub clients: usize,
    pub interests_per_client: usize,
}

/// When the hub looks at inodes again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Nanoseconds by which the kernel's coarse clock steps.
    pub tick: u64,
    /// How often a file is told of for as long as it is mapped writable.
    pub volatile: Option<Duration>,
    /// How long inodes of clients that are gone, or of an earlier daemon, wait for them.
    pub grace: Duration,
}

/// Slots or interests that are worked on before others get the lock.
pub const STEP: usize = 1024;

/// Shared by the dispatcher and all connections.
pub struct Hub {
    state: Mutex<State>,
    /// The trail or the lifetimes have changed: the dispatcher must look when to wake next.
    rescheduled: Notify,
}

struct State {
    kernel: Box<dyn Kernel>,
    slots: Slots,
    registry: Registry,
    trail: Trail,
    orphans: Trail,
    devices: Devices,
    unclaimed: Unclaimed,
    grace: Duration,
    /// Nanoseconds by which the kernel's coarse clock steps.
    tick: u64,
    volatile: Option<Duration>,
    lifetimes: Lifetimes,
    directories: Directories,
    clients: Clients,
    /// Clients that have left and whose interests are still to be taken away.
    leaving: Vec<ClientIndex>,
    limits: Limits,
    totals: Totals,
    started: Instant,
}

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

/// An upcall that is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcall {
    pub interest: u64,
    pub cookie: u64,
    pub changes: u32,
    pub version: u64,
    pub attrs: Option<Attrs>,
    pub ended: bool,
    pub names: Names,
}

/// What the dispatcher must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Nanoseconds of the kernel's coarse clock, from now, until a slot's tick is over.
    pub settle_in: Option<Duration>,
    /// When the next interest ends by itself.
    pub expire_at: Option<Instant>,
}

impl Hub {
    pub fn new(kernel: Box<dyn Kernel>, slots: Slots, pace: Pace, limits: Limits) -> Self {
        let state = State {
            kernel,
            slots,
            registry: Registry::default(),
            trail: Trail::new(pace.tick),
            orphans: Trail::new(pace.tick),
            devices: Devices::default(),
            unclaimed: Unclaimed::default(),
            grace: pace.grace,
            tick: pace.tick.max(1),
            volatile: pace.volatile,
            lifetimes: Lifetimes::default(),
            directories: Directories::default(),
            clients: Clients::default(),
            leaving: Vec::new(),
            limits,
            totals: Totals::default(),
            started: Instant::now(),
        };
        Self { state: Mutex::new(state), rescheduled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counters behind at worst; to stop telling clients would be worse.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has come. `None`: there are too many. The second value is notified when upcalls wait.
    pub fn connect(&self, info: ClientInfo, process: Option<Process>) -> Option<(ClientIndex, Arc<Notify>)> {
        let mut state = self.lock();
        if state.clients.len() >= state.limits.clients {
            return None;
        }
        let index = state.registry.connect(process.as_ref().map(Process::tgid));
        Some((index, state.clients.insert(index, info, process)))
    }

    /// Ends what a client is told. The dispatcher takes its interests away, in steps.
    pub fn disconnect(&self, client: ClientIndex) {
        let mut state = self.lock();
        state.clients.remove(client);
        state.registry.disconnect(client);
        state.leaving.push(client);
        drop(state);
        self.rescheduled.notify_one();
    }

    /// Makes an interest in an inode. `known`: the version the client holds, 0 for none.
    pub fn register(
        &self,
        client: ClientIndex,
        inode: Inode<'_>,
        wish: Wish,
        lifetime: Option<Duration>,
        known: u64,
    ) -> Result<Registered, RegisterError> {
        let mut state = self.lock();
        let made = state.register(client, inode, wish, known)?;
        if lifetime.is_some() {
            state.lifetimes.set(made.interest, lifetime, Instant::now());
        }
        drop(state);
        self.reschedule();
        Ok(made)
    }

    pub fn unregister(&self, client: ClientIndex, interest: u64) -> Result<(), NoInterest> {
        let mut state = self.lock();
        let freed = state.registry.unregister(client, interest)?;
        state.lifetimes.remove(interest);
        if let Some(slot) = freed {
            state.release(slot);
        }
        Ok(())
    }

    /// Restarts a lifetime, or ends the limit with `None`.
    pub fn renew(
        &self,
        client: ClientIndex,
        interest: u64,
        lifetime: Option<Duration>,
    ) -> Result<(), NoInterest> {
        let mut state = self.lock();
        state.registry.find(client, interest)?;
        state.lifetimes.set(interest, lifetime, Instant::now());
        drop(state);
        self.reschedule();
        Ok(())
    }

    /// Takes changes off slots; returns the clients that nothing waited for before, for [`Hub::wake`].
    #[must_use]
    pub fn take(&self, dirty: impl IntoIterator<Item = u32>) -> Vec<ClientIndex> {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for slot in dirty {
            state.take(slot, &mut wake);
        }
        wake
    }

    /// Upcalls wait for the client.
    pub fn wake(&self, client: ClientIndex) {
        self.lock().clients.notify(client);
    }

    /// Takes changes off slots and wakes the clients.
    pub fn dispatch(&self, dirty: impl IntoIterator<Item = u32>) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for slot in dirty {
            state.take(slot, &mut wake);
        }
        state.wake(&wake);
    }

    /// Looks at every slot: the ring could not name them all.
    pub fn scan(&self) {
        let used = {
            let mut state = self.lock();
            state.totals.scans += 1;
            state.slots.used()
        };
        // In steps, so that connections get the lock in between.
        for start in (0..used).step_by(STEP) {
            self.dispatch(start..used.min(start.saturating_add(STEP as u32)));
        }
    }

    /// Slots of the inodes that a client is interested in: what [`Hub::catch_up`] is to be called with.
    pub fn slots_of(&self, client: ClientIndex) -> Vec<u32> {
        self.lock().registry.slots_of(client)
    }

    /// Makes sure that every change of these slots completed before this call waits for the clients (or has
    /// been sent). For more than [`STEP`] slots call it several times and let others run in between.
    pub fn catch_up(&self, slots: &[u32]) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.look_for_skips();
        for &slot in slots {
            state.take(slot, &mut wake);
            state.retell(slot, &mut wake);
        }
        state.wake(&wake);
    }

    /// The last turn in a client's queue: once the upcalls up to it are sent, all that waits now is sent.
    pub fn last_turn(&self, client: ClientIndex) -> u64 {
        self.lock().registry.last_turn(client)
    }

    /// Settles slots whose tick is over, ends interests whose lifetime is, and takes those of clients that have
    /// left away: a step of each. Returns inodes that are no longer where they were: the caller finds out
    /// whether they still exist and says so with [`Hub::deleted`].
    pub fn tick(&self) -> Vec<Gone> {
        let (mut wake, mut gone) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        let now = state.kernel.coarse_now();
        if state.trail.next_due().is_some_and(|due| due <= now) {
            state.look_for_skips();
        }
        for _ in 0..STEP {
            let Some((slot, unsettled)) = state.trail.pop_due(now) else { break };
            gone.extend(state.settle(slot, unsettled, now, false, &mut wake));
        }
        for _ in 0..STEP {
            let Some((slot, look)) = state.orphans.pop_due(now) else { break };
            gone.extend(state.look_at_orphan(slot, look, now));
        }
        for _ in 0..STEP {
            let Some(interest) = state.lifetimes.pop_over(Instant::now()) else { break };
            wake.extend(state.registry.expire(interest));
        }
        for _ in 0..STEP {
            let Some(slot) = state.unclaimed.pop_over(Instant::now()) else { break };
            state.release(slot);
        }
        state.clear();
        state.wake(&wake);
        gone
    }

    /// The inode that a slot stood for is deleted.
    pub fn deleted(&self, gone: &Gone) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.forget(gone, &mut wake);
        state.wake(&wake);
    }

    pub fn schedule(&self) -> Schedule {
        let state = self.lock();
        let due = state.trail.next_due().into_iter().chain(state.orphans.next_due()).min();
        let settle_in = due.map(|due| Duration::from_nanos(due.saturating_sub(state.kernel.coarse_now())));
        let settle_in = if state.leaving.is_empty() { settle_in } else { Some(Duration::ZERO) };
        let expire_at = state.lifetimes.next_end().into_iter().chain(state.unclaimed.next_end()).min();
        Schedule { settle_in, expire_at }
    }

    fn reschedule(&self) {
        self.rescheduled.notify_one();
    }

    /// Resolves when [`Hub::schedule`] may say something new.
    pub async fn rescheduled(&self) {
        self.rescheduled.notified().await;
    }

    /// Takes up to `max` upcalls that wait for the client, with turns up to `last`.
    pub fn take_upcalls(&self, client: ClientIndex, max: usize, last: u64) -> Vec<Upcall> {
        let mut state = self.lock();
        let mut dropped = Vec::new();
        let pending = state.registry.take(client, max, last, &mut dropped);
        let upcalls = pending
            .into_iter()
            .map(|it| Upcall {
                interest: it.interest,
                cookie: it.cookie,
                changes: it.changes,
                version: it.version,
                attrs: state.slots.get(it.slot).and_then(|slot| slot.attrs(it.version)),
                ended: it.ended,
                names: it.names,
            })
            .collect();
        state.dropped(dropped);
        upcalls
    }

    /// How many interests an inode has, and how many would be told of such a change by `tgid`.
    pub fn audience(&self, key: &Key, changes: u32, tgid: u32) -> (usize, usize) {
        self.lock().registry.audience(key, changes, tgid)
    }
}

impl State {
    fn register(
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
        let held = self
            .registry
            .slot_of(&probe.key)
            .filter(|slot| self.registry.watched(*slot).is_some_and(|it| it.generation == probe.generation));
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
        if self.kernel.marks_early() {
            resting &= !settle::may_stay_silent(&probe.attrs, clock);
            if !resting {
                let changes = DATA | SIZE | TIMES;
                self.note(slot, changes, Originator::Unknown);
            }
            resting &= !self.trail.contains(slot);
        }
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

    fn identify(&mut self, fd: BorrowedFd<'_>) -> Result<Probe, RegisterError> {
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
        if let Some(slot) = self.registry.slot_of(&probe.key) {
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
        if let Err(error) = self.kernel.watch(probe.key, slot) {
            tracing::error!(%error, "cannot enter an inode into the kernel's map of watched inodes");
            self.slots.free(slot, now);
            return Err(RegisterError::NoSlots);
        }
        self.registry.watch(slot, probe, origin, version);
        self.devices.insert(probe.key.dev, slot);
        Ok(slot)
    }

    /// Slots are settled by what is known of skipped hooks now; marks from here on count from it.
    fn look_for_skips(&mut self) {
        self.trail.skipped = self.kernel.skipped();
    }

    /// Takes a step's worth of interests away from clients that have left.
    fn clear(&mut self) {
        let Some(&client) = self.leaving.last() else { return };
        match self.registry.clear(client, STEP) {
            Some(dropped) => {
                for Dropped { id, freed } in dropped {
                    self.lifetimes.remove(id);
                    if let Some(slot) = freed {
                        self.leave(slot);
                    }
                }
            }
            None => {
                self.leaving.pop();
            }
        }
    }

    fn dropped(&mut self, dropped: Vec<Dropped>) {
        for Dropped { id, freed } in dropped {
            self.lifetimes.remove(id);
            if let Some(slot) = freed {
                self.release(slot);
            }
        }
    }

    /// Nobody is interested in the slot's inode any more.
    fn release(&mut self, slot: u32) {
        self.detach(slot);
        self.directories.remove(slot);
        self.registry.unwatch(slot);
        self.slots.free(slot, Instant::now());
    }

    /// The slot's inode is told no more: whoever gets its number has nothing to do with the slot, which stays
    /// only until its clients have been told.
    fn detach(&mut self, slot: u32) {
        self.trail.remove(slot);
        self.orphans.remove(slot);
        self.leave_layer(slot);
        if let Some(watched) = self.registry.watched(slot) {
            self.devices.remove(watched.key.dev, slot);
        }
        if let Some(key) = self.registry.detach(slot) {
            self.unwatch(key);
        }
    }

    fn unwatch(&mut self, key: Key) {
        if let Err(error) = self.kernel.unwatch(key) {
            tracing::warn!(%error, "cannot take an inode from the kernel's map of watched inodes");
        }
    }

    /// A mark has been taken of which something may be still to be told.
    fn note(&mut self, slot: u32, changes: u32, originator: Originator) {
        if let Some(view) = self.slots.get(slot) {
            view.set_unsettled(true);
        }
        self.trail.note(slot, changes, originator, self.kernel.coarse_now());
    }

    /// Takes what is pending in a slot and hands it on.
    fn take(&mut self, slot: u32, wake: &mut Vec<ClientIndex>) {
        let Some(view) = self.slots.get(slot) else { return };
        let word = view.take();
        if word.is_clean() {
            return;
        }
        let (changes, originator) = (word.changes(), word.originator());
        let early = self.kernel.marks_early() || changes & EARLY != 0;
        let netted = changes & NET != 0;
        let changes = changes & ALL;
        let attached = self.registry.is_attached(slot);
        if (early || netted) && attached {
            // What a hook has told of, and only the net is to be looked at for, is not told again.
            let (changes, originator) = if early { (changes, originator) } else { (0, Originator::Unknown) };
            self.note(slot, changes, originator);
        }
        if changes == 0 {
            // The safety net alone: a hook is about to tell, or the trail will.
            return;
        }
        let Some(view) = self.slots.get(slot) else { return };
        let (version, marks) = view.version_taken(|version| self.registry.marks_taken(slot, version));
        if changes & NLINK != 0 && attached {
            // Where nobody knows, it is looked at.
            let attrs = self.slots.get(slot).and_then(|view| view.attrs(version));
            self.orphan(slot, attrs.map_or(0, |attrs| attrs.nlink));
        }
        self.totals.takes += 1;
        self.hand_on(Taken { slot, changes, originator, version, marks }, wake);
    }

    /// Tells a change that the kernel side did not mark.
    fn tell(&mut self, slot: u32, changes: u32, wake: &mut Vec<ClientIndex>) {
        self.tell_as(slot, changes, Originator::Unknown, wake);
    }

    fn tell_as(
        &mut self,
        slot: u32,
        changes: u32,
        originator: Originator,
        wake: &mut Vec<ClientIndex>,
    ) -> u64 {
        let Some(view) = self.slots.get(slot) else { return 0 };
        let version = view.raise();
        let marks = self.registry.marks_taken(slot, version);
        self.totals.retold += 1;
        self.hand_on(Taken { slot, changes, originator, version, marks }, wake);
        version
    }

    fn hand_on(&mut self, taken: Taken, wake: &mut Vec<ClientIndex>) {
        let clients = &self.clients;
        self.registry.change(taken, |client| clients.process_lives(client), wake);
        if taken.changes & FORGET != 0 {
            self.detach(taken.slot);
            if self.unclaimed.remove(taken.slot).is_some() {
                self.release(taken.slot);
            }
        }
    }

    fn wake(&self, clients: &[ClientIndex]) {
        for &client in clients {
            self.clients.notify(client);
        }
    }
}
