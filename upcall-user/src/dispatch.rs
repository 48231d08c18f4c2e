//! The dispatcher: from the dirty ring to the hub, and the hub's own appointments.

use std::{io, os::fd::AsRawFd, sync::Arc, time::Duration};

use aya::maps::{MapData, RingBuf};
use tokio::time::Instant;
use upcall_common::abi::SCAN;

use crate::{
    access::Exports,
    fate::{self, Fate},
    hub::Hub,
    names::Namer,
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
) -> io::Result<()> {
    let mut ring = readiness::readable(ring)?;
    tracing::trace!(fd = ring.as_raw_fd(), "reading dirty slots");
    loop {
        let schedule = hub.schedule();
        tokio::select! {
            ready = ring.readable_mut() => {
                let mut guard = ready?;
                let slots = drain(guard.get_inner_mut());
                if slots.len() < TURN {
                    // Before the flag is looked at: a record that comes now wakes this task again.
                    guard.clear_ready();
                }
                hub.dispatch(slots.into_iter().filter(|slot| *slot != SCAN));
                // Names go with the upcalls that now wait, rather than after them.
                namer.drain(&hub);
                let scan = flags.take_scan();
                #[cfg(feature = "sabotage")]
                let scan = scan && !crate::sabotage::skips_scan();
                if scan {
                    hub.scan();
                }
            }
            () = until(schedule.settle_in.map(|left| Instant::now() + left.max(Duration::from_micros(100)))) => {
                settle(&hub, &exports);
            }
            () = until(schedule.expire_at.map(Instant::from_std)) => settle(&hub, &exports),
            () = hub.rescheduled() => {}
        }
        tokio::task::yield_now().await;
    }
}

fn drain(ring: &mut RingBuf<MapData>) -> Vec<u32> {
    let mut slots = Vec::new();
    while slots.len() < TURN
        && let Some(item) = ring.next()
    {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::drops_record() {
            continue;
        }
        match <[u8; 4]>::try_from(&*item) {
            Ok(bytes) => slots.push(u32::from_ne_bytes(bytes)),
            Err(_) => tracing::error!(bytes = item.len(), "a record of the dirty ring has the wrong size"),
        }
    }
    slots
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
