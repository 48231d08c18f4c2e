//! The heart of the daemon: takes changes off dirty slots, finds who is interested, and keeps what waits for
//! each client. One lock guards it all; it is held for computing and for asking the kernel, never where that could
//! wait.

mod adopt;
mod changes;
mod clients;
mod deadlines;
mod devices;
mod due;
mod index;
mod kernel;
mod layers;
mod names;
mod orphans;
mod register;
mod registry;
mod settle;
mod slots;
mod status;
mod trail;
mod unmount;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use upcall_common::abi::{Attrs, Key};

pub use clients::{ClientInfo, Process};
pub use index::{Bucket, Index};
pub use kernel::{Kernel, KernelCounts};
pub use names::{Directory, Mark, Named, Names, Waiting};
pub use register::{RegisterError, Registered, Wanted};
pub use registry::{Account, ClientIndex, NoInterest, Origin, Wish};
pub use settle::Gone;
pub use slots::{Slots, Words};
pub use status::{ClientStatus, HubStatus, Totals};
pub use unmount::Look;

use adopt::Unclaimed;
use clients::Clients;
use deadlines::Deadlines;
use devices::Devices;
use due::Due;
use names::Directories;
use registry::{Dropped, Registry};
use trail::Trail;

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
    /// The inode below an overlay's, whose changes mark the slot too, by slot.
    below: HashMap<u32, Key>,
    /// Slots of inodes that nobody is interested in at the moment: their clients are gone, or the daemon that had them.
    /// They go on being marked for a while, so that a client that comes back learns what has changed and what has not.
    unclaimed: Deadlines<u32, Instant, Unclaimed>,
    grace: Duration,
    /// Nanoseconds by which the kernel's coarse clock steps.
    tick: u64,
    volatile: Option<Duration>,
    /// Interests that end by themselves.
    lifetimes: Deadlines<u64, Instant>,
    directories: Directories,
    clients: Clients,
    /// Clients that have left and whose interests are still to be taken away.
    leaving: Vec<ClientIndex>,
    limits: Limits,
    totals: Totals,
    started: Instant,
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
            below: HashMap::new(),
            unclaimed: Deadlines::default(),
            grace: pace.grace,
            tick: pace.tick.max(1),
            volatile: pace.volatile,
            lifetimes: Deadlines::default(),
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
        state.set_lifetime(interest, lifetime);
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
            let Some((interest, ())) = state.lifetimes.pop_over(Instant::now()) else { break };
            wake.extend(state.registry.expire(interest));
        }
        for _ in 0..STEP {
            let Some((slot, _)) = state.unclaimed.pop_over(Instant::now()) else { break };
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
        let Due { look, expire_at } = state.due();
        let settle_in = look.map(|due| Duration::from_nanos(due.saturating_sub(state.kernel.coarse_now())));
        let settle_in = if state.leaving.is_empty() { settle_in } else { Some(Duration::ZERO) };
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
        let state = self.lock();
        state.slots.find(*key).map_or((0, 0), |slot| state.registry.audience(slot, changes, tgid))
    }
}

impl State {
    /// Starts or restarts a lifetime; `None` means for ever.
    fn set_lifetime(&mut self, interest: u64, lifetime: Option<Duration>) {
        match lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime)) {
            Some(end) => self.lifetimes.insert(interest, end, ()),
            None => {
                self.lifetimes.remove(interest);
            }
        }
    }

    fn due(&self) -> Due {
        Due {
            look: self.trail.next_due().into_iter().chain(self.orphans.next_due()).min(),
            expire_at: self.lifetimes.next_end().into_iter().chain(self.unclaimed.next_end()).min(),
        }
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
        if self.registry.detach(slot)
            && let Some(view) = self.slots.get(slot)
        {
            self.devices.remove(view.key().dev);
            self.slots.leave(slot);
        }
    }
}
