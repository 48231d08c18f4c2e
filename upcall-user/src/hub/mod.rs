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
    ops::Range,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use upcall_common::abi::{Key, Probe};

pub use changes::Upcall;
pub use clients::{ClientInfo, Process};
pub use due::Schedule;
pub use index::{Bucket, Index};
pub use kernel::{Kernel, KernelCounts};
pub use names::{Directory, Mark, Named, Names, Waiting};
pub use register::{RegisterError, Registered, Wanted};
pub use registry::{Account, ClientIndex, NoInterest, Origin, Provenance, Wish};
pub use settle::Gone;
pub use slots::{Slots, Words};
pub use status::{ClientStatus, HubStatus, Totals};
pub use unmount::Look;

use adopt::Unclaimed;
use clients::Clients;
use deadlines::Deadlines;
use devices::Devices;
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

impl Hub {
    pub fn new(mut kernel: Box<dyn Kernel>, slots: Slots, pace: Pace, limits: Limits) -> Self {
        // Counts begin with the programs.
        let skipped = kernel.skipped().map(|_| 0);
        let mut state = State {
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
        state.trail.skipped = skipped;
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
        let index = state.registry.connect(process.as_ref().map(Process::tgid), false);
        Some((index, state.clients.insert(index, info, process)))
    }

    /// The daemon itself, beside those that may come, is told of changes as well; and by whom they are.
    pub fn join(&self, info: ClientInfo) -> (ClientIndex, Arc<Notify>) {
        let mut state = self.lock();
        state.limits.clients += 1;
        let index = state.registry.connect(None, true);
        (index, state.clients.insert(index, info, None))
    }

    /// Whether the client is known to be this process, which lives.
    pub fn is_process(&self, client: ClientIndex, tgid: u32) -> bool {
        self.lock().clients.is_process(client, tgid)
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

    /// Which inode an open descriptor of this process is.
    pub fn identify(&self, fd: BorrowedFd<'_>) -> Result<Probe, RegisterError> {
        self.lock().identify(&[fd]).pop().unwrap_or(Err(RegisterError::Unsupported))
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

    /// Takes a step's worth of interests away from clients that have left.
    fn clear(&mut self) {
        let Some(&client) = self.leaving.last() else { return };
        match self.registry.clear(client, STEP) {
            Some(dropped) => self.dropped(dropped, Self::leave),
            None => {
                self.leaving.pop();
            }
        }
    }

    /// Interests are no more; `free` gets the slots that nobody is interested in now.
    fn dropped(&mut self, dropped: Vec<Dropped>, free: impl Fn(&mut Self, u32)) {
        for Dropped { id, freed } in dropped {
            self.lifetimes.remove(id);
            if let Some(slot) = freed {
                free(self, slot);
            }
        }
    }

    /// The slots of a step that begins with `from`, and where the next one begins, if there is one.
    fn step(&self, from: u32) -> (Range<u32>, Option<u32>) {
        let used = self.slots.used();
        let end = used.min(from.saturating_add(STEP as u32));
        (from..end, (end < used).then_some(end))
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
