//! The dispatcher: from the dirty ring to the hub, and the hub's own appointments.

use std::{io, os::fd::AsRawFd, sync::Arc, time::Duration};

use aya::maps::{MapData, RingBuf};
use tokio::{io::unix::AsyncFdReadyMutGuard, time::Instant};
use upcall_common::{
    abi::SCAN,
    protocol::{self, Reader},
};

use crate::{
    access::Exports,
    fate::{self, Fate},
    hub::{ClientIndex, Hub},
    names::Namer,
    server::Outlets,
    source::Flags,
    sys::readiness,
};

/// Slots handed over before other tasks get their turn.
const TURN: usize = 4096;

/// Runs for as long as the daemon does.
pub async fn run(
    ring: RingBuf<MapData>,
    flags: Flags,
    hub: Arc<Hub>,
    exports: Arc<Exports>,
    namer: Arc<Namer>,
    outlets: Arc<Outlets>,
) -> io::Result<()> {
    let mut ring = readiness::readable(ring)?;
    tracing::trace!(fd = ring.as_raw_fd(), "reading dirty slots");
    loop {
        let schedule = hub.schedule();
        tokio::select! {
            ready = ring.readable_mut() => {
                let (woken, drained) = Turn::new(ready?, &flags, &hub, &namer).run();
                outlets.deliver(&hub, &woken).await;
                if !drained {
                    tokio::task::yield_now().await;
                }
            }
            () = until(schedule.settle_in.map(|left| Instant::now() + left.max(Duration::from_micros(100)))) => {
                settle(&hub, &exports);
            }
            () = until(schedule.expire_at.map(Instant::from_std)) => settle(&hub, &exports),
            () = hub.rescheduled() => {}
        }
    }
}

/// What is read while the ring is ready.
struct Turn<'a> {
    ready: AsyncFdReadyMutGuard<'a, RingBuf<MapData>>,
    flags: &'a Flags,
    hub: &'a Hub,
    namer: &'a Namer,
    slots: Vec<u32>,
    /// Clients that upcalls wait for.
    woken: Vec<ClientIndex>,
    drained: bool,
}

impl<'a> Turn<'a> {
    fn new(
        ready: AsyncFdReadyMutGuard<'a, RingBuf<MapData>>,
        flags: &'a Flags,
        hub: &'a Hub,
        namer: &'a Namer,
    ) -> Self {
        Self { ready, flags, hub, namer, slots: Vec::new(), woken: Vec::new(), drained: false }
    }

    /// Tells for whom upcalls wait, and whether nothing is left to be read.
    fn run(mut self) -> (Vec<ClientIndex>, bool) {
        protocol::turn(&mut self);
        (self.woken, self.drained)
    }
}

impl Reader for Turn<'_> {
    fn drain(&mut self) -> bool {
        let ring = self.ready.get_inner_mut();
        while self.slots.len() < TURN {
            let Some(item) = ring.next() else { return true };
            #[cfg(feature = "sabotage")]
            if crate::sabotage::drops_record() {
                continue;
            }
            match <[u8; 4]>::try_from(&*item) {
                Ok(bytes) => self.slots.push(u32::from_ne_bytes(bytes)),
                Err(_) => {
                    tracing::error!(bytes = item.len(), "a record of the dirty ring has the wrong size")
                }
            }
        }
        false
    }

    fn arm(&mut self) {
        self.drained = true;
        self.ready.clear_ready();
    }

    fn take(&mut self) {
        self.woken.extend(self.hub.take(self.slots.drain(..).filter(|slot| *slot != SCAN)));
        // Names go with the upcalls that now wait, rather than after them.
        self.namer.drain(self.hub);
    }

    fn take_scan(&mut self) -> bool {
        let scan = self.flags.take_scan();
        #[cfg(feature = "sabotage")]
        let scan = scan && !crate::sabotage::skips_scan();
        scan
    }

    fn scan(&mut self) {
        self.hub.scan();
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Inodes that are no longer in memory are looked for on disk, on a thread that may wait for it.
fn settle(hub: &Arc<Hub>, exports: &Arc<Exports>) {
    let gone = hub.tick();
    if gone.is_empty() {
        return;
    }
    let (hub, exports) = (Arc::clone(hub), Arc::clone(exports));
    tokio::task::spawn_blocking(move || {
        for gone in &gone {
            match fate::of(gone, &exports, &hub) {
                Fate::Deleted => hub.deleted(gone),
                Fate::Unknown if gone.unlinked => hub.deleted(gone),
                Fate::Exists | Fate::Unknown => {}
            }
        }
    });
}
