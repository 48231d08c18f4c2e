//! Live events for `upcall debug`: read from the lossy ring, named, and offered to whoever looks.

mod filter;
mod once;
mod record;
mod state;

use std::{
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{MapData, RingBuf};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

pub use filter::EventFilter;
pub use record::LiveEvent;
pub use state::{StateEvent, StateOp, What, Whom};

use crate::{hub::Hub, mounts::Table, source::Flags, sys::readiness};

/// What `upcall debug` shows.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    Change(LiveEvent),
    State(StateEvent),
}

pub type SharedEvent = Arc<Event>;

/// The event with what only its reader can know.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    event: &'a Event,
    /// Events that this reader was too slow for, so far.
    lost: u64,
}

impl Event {
    /// Of the process that it is of; 0: unknown.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Change(change) => change.pid,
            Self::State(state) => state.pid,
        }
    }

    /// `lost`: events that this reader was too slow for.
    pub fn to_json(&self, lost: u64) -> String {
        // Plain fields only: it cannot fail.
        serde_json::to_string(&Shown { event: self, lost }).unwrap_or_default()
    }
}

/// Events that a slow looker may lag behind before it loses some.
pub const BACKLOG: usize = 16_384;

/// Switches the kernel's events on while at least one client looks.
#[derive(Clone)]
pub struct EventSwitch(Arc<Mutex<Switch>>);

struct Switch {
    watching: usize,
    flags: Flags,
}

/// Somebody looks, until this is dropped.
pub struct Watching(EventSwitch);

impl EventSwitch {
    pub fn new(flags: Flags) -> Self {
        Self(Arc::new(Mutex::new(Switch { watching: 0, flags })))
    }

    pub fn watch(&self) -> Watching {
        self.change(|watching| watching + 1);
        Watching(self.clone())
    }

    fn change(&self, next: impl FnOnce(usize) -> usize) {
        let mut switch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        switch.watching = next(switch.watching);
        switch.flags.set_events(switch.watching > 0);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.change(|watching| watching.saturating_sub(1));
    }
}

/// Events handled before other tasks get their turn.
const TURN: usize = 256;

/// Reads the event ring for as long as the daemon runs.
pub async fn run(
    ring: RingBuf<MapData>,
    hub: Arc<Hub>,
    mounts: watch::Receiver<Arc<Table>>,
    out: broadcast::Sender<SharedEvent>,
) -> std::io::Result<()> {
    let mut ring = readiness::readable(ring)?;
    tracing::trace!(fd = ring.as_raw_fd(), "reading events");
    let mut recent = once::Recent::default();
    loop {
        let mut guard = ring.readable_mut().await?;
        let mounts = Arc::clone(&mounts.borrow());
        let mut count = 0;
        while let Some(item) = guard.get_inner_mut().next() {
            if let Some(mut event) = LiveEvent::parse(&item, &mounts)
                && !recent.has_shown(&event)
            {
                event.set_audience(hub.audience(&event.key(), event.bits(), event.pid));
                // Nobody looks any more: just as well.
                let _ = out.send(Arc::new(Event::Change(event)));
            }
            count += 1;
            if count == TURN {
                break;
            }
        }
        if count < TURN {
            guard.clear_ready();
        }
        drop(guard);
        tokio::task::yield_now().await;
    }
}
