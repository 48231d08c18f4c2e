//! Live events for `upcall debug`: read from the lossy ring, named, and offered to whoever looks.

mod filter;
mod mounts;
mod once;
mod record;

use std::{
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{MapData, RingBuf};
use tokio::sync::broadcast;

pub use filter::EventFilter;
pub use record::{LiveEvent, SharedEvent};

use crate::{hub::Hub, source::Flags, sys::readiness};

/// Events that a slow looker may lag behind before it loses some.
pub const BACKLOG: usize = 4096;

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
    out: broadcast::Sender<SharedEvent>,
) -> std::io::Result<()> {
    let mut ring = readiness::readable(ring)?;
    tracing::trace!(fd = ring.as_raw_fd(), "reading events");
    let (mut mounts, mut recent) = (mounts::Mounts::default(), once::Recent::default());
    loop {
        let mut guard = ring.readable_mut().await?;
        let mut count = 0;
        while let Some(item) = guard.get_inner_mut().next() {
            if let Some(mut event) = LiveEvent::parse(&item, &mut mounts)
                && !recent.has_shown(&event)
            {
                event.set_audience(hub.audience(&event.key(), event.bits(), event.pid));
                // Nobody looks any more: just as well.
                let _ = out.send(Arc::new(event));
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
