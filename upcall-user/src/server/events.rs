//! Live events, for a client that looks.

use bytes::BytesMut;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use upcall_common::wire::Message;

use super::session::frame;
use crate::events::{EventFilter, SharedEvent, Watching};

/// A stream of events that the client asked for with this tag.
pub(super) struct EventStream {
    pub(super) tag: u32,
    pub(super) filter: EventFilter,
    /// The looker's own process: what it writes of the events must not make more of them.
    pub(super) own: u32,
    pub(super) events: broadcast::Receiver<SharedEvent>,
    /// Events that this client was too slow for.
    pub(super) lost: u64,
    pub(super) _watching: Watching,
}

/// Events in one write.
const EVENTS: usize = 256;

/// The next events that pass the filter, as frames: those that are there. Never resolves without a stream.
pub(super) async fn next_events(stream: Option<&mut EventStream>) -> BytesMut {
    let Some(stream) = stream else { return std::future::pending().await };
    let mut out = BytesMut::new();
    let mut received = stream.events.recv().await.map_err(|error| match error {
        RecvError::Lagged(count) => TryRecvError::Lagged(count),
        RecvError::Closed => TryRecvError::Closed,
    });
    for _ in 0..EVENTS {
        match received {
            Ok(event) if event.pid() != stream.own && stream.filter.passes(&event) => {
                out.unsplit(frame(&Message::Event(event.to_json(stream.lost)), stream.tag));
            }
            Ok(_) => {}
            Err(TryRecvError::Lagged(count)) => stream.lost += count,
            Err(TryRecvError::Empty) => break,
            // The daemon ends; the shutdown branch says so.
            Err(TryRecvError::Closed) => return std::future::pending().await,
        }
        received = stream.events.try_recv();
    }
    out
}
