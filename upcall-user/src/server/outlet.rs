//! The way out of a connection. Its session writes answers; upcalls are written by whoever has them, so that a client
//! need not wait until its session gets its turn. Frames leave whole, in the order in which they were taken.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, BytesMut};
use upcall_common::wire::{MAX_BODY, MAX_UPCALLS, MAX_WAITING_BYTES, UpcallBatch, UpcallItem};

use super::stream::Stream;
use crate::hub::{ClientIndex, Hub, Upcall};

/// Most upcalls in one frame: enough to amortise a write, few enough to keep a request from waiting long.
const UPCALLS: usize = 1024;
// They fit one frame with all names that may wait for a client; without names each has less than 100 bytes.
const _: () =
    assert!(UPCALLS <= MAX_UPCALLS as usize && UPCALLS * 100 + MAX_WAITING_BYTES <= MAX_BODY as usize);

/// Clients that are sent to before other tasks get their turn.
const STEP: usize = 64;

#[derive(Debug)]
pub(super) struct Outlet {
    stream: Arc<Stream>,
    /// Held from taking upcalls until they are written or kept, so that none overtakes an earlier one; no write
    /// under it waits.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the socket had no room for.
    rest: BytesMut,
    /// The session answers nothing: an interest's first upcall must not come before the answer that names it.
    open: bool,
    /// Frames of what is held for the client that came while it was not, or while there was no room.
    told: BytesMut,
    over: Option<Over>,
}

/// Why the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Another one has taken over.
    Superseded,
    /// Too much waits for it.
    Slow,
}

/// Most bytes that wait for a client of what is held for it; no frame is lost in silence, so the connection is.
const MOST_TOLD: usize = 1 << 20;

impl Outlet {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Self { stream, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Bytes are kept or gone as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on only the session sends. Why it has to end, if it has to.
    pub(super) fn close(&self) -> Option<Over> {
        let mut state = self.lock();
        state.open = false;
        state.over
    }

    /// Others may send, too; false: first the session has to.
    pub(super) fn open(&self) -> bool {
        let mut state = self.lock();
        state.open = state.told.is_empty() && state.over.is_none();
        state.open
    }

    /// Sends a frame, or keeps it in its order; false: the session must see to it.
    pub(super) fn tell(&self, frame: &BytesMut) -> bool {
        let mut state = self.lock();
        if state.open && state.rest.is_empty() && state.told.is_empty() {
            // An error is the session's to find.
            return state.write(&self.stream, frame.clone()).is_ok_and(|sent| sent);
        }
        if state.told.len() + frame.len() > MOST_TOLD {
            state.told = BytesMut::new();
            state.over.get_or_insert(Over::Slow);
        } else if state.over.is_none() {
            state.told.extend_from_slice(frame);
        }
        false
    }

    pub(super) fn take_told(&self) -> BytesMut {
        std::mem::take(&mut self.lock().told)
    }

    pub(super) fn supersede(&self) {
        self.lock().over.get_or_insert(Over::Superseded);
    }

    /// Writes a frame; true if nothing is left for [`Outlet::flush`].
    pub(super) fn write(&self, frame: BytesMut) -> io::Result<bool> {
        self.lock().write(&self.stream, frame)
    }

    /// Writes what is left; true if nothing is any more.
    pub(super) fn flush(&self) -> io::Result<bool> {
        self.lock().flush(&self.stream)
    }

    /// Writes one frame of what waits for the client, up to the turn `last`; whether there was anything.
    pub(super) fn send_upcalls(&self, hub: &Hub, client: ClientIndex, last: u64) -> io::Result<bool> {
        self.lock().send_upcalls(&self.stream, hub, client, last).map(|count| count > 0)
    }

    /// The same for somebody else than the session; false: that one must see to it.
    fn deliver(&self, hub: &Hub, client: ClientIndex) -> bool {
        let mut state = self.lock();
        if !state.open || !state.rest.is_empty() {
            return false;
        }
        let sent = state.send_upcalls(&self.stream, hub, client, u64::MAX);
        sent.is_ok_and(|count| count < UPCALLS) && state.rest.is_empty()
    }
}

impl State {
    fn send_upcalls(
        &mut self,
        stream: &Stream,
        hub: &Hub,
        client: ClientIndex,
        last: u64,
    ) -> io::Result<usize> {
        let waiting = hub.take_upcalls(client, UPCALLS, last);
        let count = waiting.len();
        if count > 0 {
            self.write(stream, frame(waiting))?;
        }
        Ok(count)
    }

    fn write(&mut self, stream: &Stream, frame: BytesMut) -> io::Result<bool> {
        if self.rest.is_empty() {
            self.rest = frame;
        } else {
            self.rest.extend_from_slice(&frame);
        }
        self.flush(stream)
    }

    fn flush(&mut self, stream: &Stream) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match stream.try_write(&self.rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.rest.advance(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.rest = BytesMut::new();
        Ok(true)
    }
}

fn frame(upcalls: Vec<Upcall>) -> BytesMut {
    let mut out = BytesMut::with_capacity(upcalls.len() * 88 + 16);
    let mut batch = UpcallBatch::begin(&mut out);
    for upcall in upcalls {
        // There is always room: see `UPCALLS`.
        let _ = batch.push(&item(upcall));
    }
    batch.finish();
    out
}

fn item(upcall: Upcall) -> UpcallItem {
    UpcallItem {
        mask: upcall.changes,
        cookie: upcall.cookie,
        interest: upcall.interest,
        version: upcall.version,
        attrs: upcall.attrs,
        ended: upcall.ended,
        names: upcall.names.entries,
        names_incomplete: upcall.names.incomplete,
    }
}

/// The outlets of all clients, for the dispatcher.
#[derive(Debug, Default)]
pub struct Outlets(Mutex<HashMap<ClientIndex, Arc<Outlet>>>);

impl Outlets {
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientIndex, Arc<Outlet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, client: ClientIndex, outlet: Arc<Outlet>) {
        self.lock().insert(client, outlet);
    }

    pub(super) fn remove(&self, client: ClientIndex) {
        self.lock().remove(&client);
    }

    /// Sends clients what waits for them. Sessions do so where the client is slow, or is being answered.
    pub async fn deliver(&self, hub: &Hub, clients: &[ClientIndex]) {
        for (step, clients) in clients.chunks(STEP).enumerate() {
            if step > 0 {
                tokio::task::yield_now().await;
            }
            for &client in clients {
                let outlet = self.lock().get(&client).map(Arc::clone);
                if !outlet.is_some_and(|outlet| outlet.deliver(hub, client)) {
                    hub.wake(client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
