//! One client's connection, from HELLO to the end.

use std::{io, sync::Arc};

use bytes::BytesMut;
use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    time::timeout,
};
use upcall_common::wire::{
    self, Code, DecodeError, FEATURE_DESCRIPTORS, Hello, MAX_BATCH, MAX_BODY, Message, ResyncReason,
    UpcallBatch, UpcallItem, VERSION, Welcome,
};

use super::{
    Service,
    requests::{self, Answer},
    transport::{Stream, Transport},
};
use crate::{
    access::Principal,
    events::{EventFilter, SharedEvent, Watching},
    hub::{ClientIndex, ClientInfo, Process, Upcall},
};

/// Most upcalls in one frame: enough to amortise a write, few enough to keep a request from waiting long.
const UPCALLS: usize = 1024;

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) info: ClientInfo,
    pub(super) principal: Principal,
    pub(super) process: Option<Process>,
    /// Over a Unix socket: descriptors may come, and operators are known by their uid.
    pub(super) local: bool,
}

impl Peer {
    pub(super) fn is_operator(&self) -> bool {
        self.local && self.principal.is_operator()
    }
}

#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{code}: {reason}", code = .0.as_str(), reason = .1)]
    Refused(Code, String, u32),
    #[error("the daemon ends")]
    Shutdown,
    #[error("the client has left")]
    Left,
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.code(), error.to_string(), error.tag())
    }
}

/// Runs the session; its end is told to the client where it can be, and logged.
pub(super) async fn run(stream: Stream, mut peer: Peer, service: Arc<Service>, _alive: mpsc::Sender<()>) {
    let mut transport = Transport::new(stream, service.stall_timeout);
    let end = match timeout(service.hello_timeout, greet(&mut transport, &mut peer, &service)).await {
        Ok(Ok(())) => serve(&mut transport, &mut peer, &service).await,
        Ok(Err(end)) => end,
        Err(_) => End::Refused(Code::TimedOut, "no HELLO in time".into(), 0),
    };
    let (name, address) = (&peer.info.name, &peer.info.address);
    match &end {
        // A client that leaves without reading what waited resets the connection.
        End::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            tracing::debug!(name, address, %end, "client disconnected")
        }
        End::Left | End::Shutdown => tracing::debug!(name, address, %end, "client disconnected"),
        _ => tracing::warn!(name, address, %end, "client disconnected"),
    }
    let farewell = match end {
        End::Refused(code, message, tag) => (Message::Error { code, message }, tag),
        End::Shutdown => {
            (Message::Resync { reason: ResyncReason::Shutdown, text: "the daemon ends".into() }, 0)
        }
        End::Io(_) | End::Left => return,
    };
    // The client may be gone or not read: then it learns from the closed connection.
    let _ = transport.write(frame(&farewell.0, farewell.1)).await;
}

fn frame(message: &Message, tag: u32) -> BytesMut {
    let mut out = BytesMut::new();
    if let Err(error) = wire::encode(message, tag, &mut out) {
        tracing::error!(%error, "an answer does not fit into a frame");
        let error =
            Message::Error { code: Code::Internal, message: "the answer does not fit into a frame".into() };
        // Short enough by far.
        let _ = wire::encode(&error, tag, &mut out);
    }
    out
}

async fn receive(transport: &mut Transport) -> Result<(u32, Message), End> {
    loop {
        if let Some(request) = wire::decode(&mut transport.inbox)? {
            return Ok(request);
        }
        if transport.read().await? == 0 {
            return Err(End::Left);
        }
    }
}

async fn greet(transport: &mut Transport, peer: &mut Peer, service: &Service) -> Result<(), End> {
    let (tag, message) = receive(transport).await?;
    let Message::Hello(hello) = message else {
        return Err(End::Refused(Code::ExpectedHello, "the first frame must be HELLO".into(), tag));
    };
    let Some(version) = hello.common_version(VERSION..=VERSION) else {
        let Hello { version_min, version_max, .. } = hello;
        let reason =
            format!("this daemon speaks version {VERSION}, the client {version_min} to {version_max}");
        return Err(End::Refused(Code::Version, reason, tag));
    };
    peer.info.name = hello.name;
    let welcome = Welcome {
        version,
        max_body: MAX_BODY,
        max_batch: MAX_BATCH,
        features: if peer.local { FEATURE_DESCRIPTORS } else { 0 },
        epoch: service.epoch,
        server: concat!("upcall ", env!("CARGO_PKG_VERSION")).into(),
    };
    Ok(transport.write(frame(&Message::Welcome(welcome), tag)).await?)
}

/// A client's place in the hub, given up when the session ends, however it ends.
struct Seat<'a> {
    service: &'a Arc<Service>,
    client: ClientIndex,
    upcalls: Arc<Notify>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.service.hub.disconnect(self.client);
    }
}

/// A stream of events that the client asked for with this tag.
struct EventStream {
    tag: u32,
    filter: EventFilter,
    events: broadcast::Receiver<SharedEvent>,
    /// Events that this client was too slow for.
    lost: u64,
    _watching: Watching,
}

async fn serve(transport: &mut Transport, peer: &mut Peer, service: &Arc<Service>) -> End {
    let Some((client, upcalls)) = service.hub.connect(peer.info.clone(), peer.process.take()) else {
        return End::Refused(Code::TooManyClients, "the daemon has as many clients as it may have".into(), 0);
    };
    let seat = Seat { service, client, upcalls };
    match work(transport, peer, &seat).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn work(
    transport: &mut Transport,
    peer: &Peer,
    seat: &Seat<'_>,
) -> Result<std::convert::Infallible, End> {
    let Seat { service, client, upcalls } = seat;
    let mut shutdown = service.shutdown.clone();
    let mut stream: Option<EventStream> = None;
    loop {
        let more = send_upcalls(transport, service, *client).await?;
        if let Some((tag, message)) = wire::decode(&mut transport.inbox)? {
            match requests::answer(message, peer, *client, transport, service).await {
                Answer::Frame(message) => transport.write(frame(&message, tag)).await?,
                Answer::Barrier => {
                    service.hub.catch_up(*client);
                    while send_upcalls(transport, service, *client).await? {}
                    transport.write(frame(&Message::Synced, tag)).await?;
                }
                Answer::Events(filter) => {
                    let (events, watching) = (service.events.subscribe(), service.event_switch.watch());
                    stream = Some(EventStream { tag, filter, events, lost: 0, _watching: watching });
                }
                Answer::Nothing => {}
                Answer::End(code, message) => return Err(End::Refused(code, message, tag)),
            }
            continue;
        }
        tokio::select! {
            // The hub wakes a client only when its set was empty: whoever leaves some must come back for them.
            () = std::future::ready(()), if more => {}
            () = upcalls.notified() => {}
            read = transport.read() => if read? == 0 { return Err(End::Left) },
            event = next_event(stream.as_mut()) => {
                if let Some((tag, text)) = event {
                    transport.write(frame(&Message::Event(text), tag)).await?;
                }
            }
            () = ending(&mut shutdown) => {
                service.hub.catch_up(*client);
                while send_upcalls(transport, service, *client).await? {}
                return Err(End::Shutdown);
            }
        }
    }
}

/// Resolves when the daemon ends.
async fn ending(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and so the daemon.
    let _ = shutdown.wait_for(|ending| *ending).await;
}

/// Sends one frame of what waits; whether there was anything.
async fn send_upcalls(
    transport: &mut Transport,
    service: &Service,
    client: ClientIndex,
) -> Result<bool, End> {
    let waiting = service.hub.take_upcalls(client, UPCALLS);
    if waiting.is_empty() {
        return Ok(false);
    }
    let mut out = BytesMut::with_capacity(waiting.len() * 88);
    let mut batch = UpcallBatch::begin(&mut out);
    for upcall in waiting {
        // A batch holds more than `UPCALLS`, so there is always room.
        let _ = batch.push(&item(&upcall));
    }
    batch.finish();
    transport.write(out).await?;
    Ok(true)
}

fn item(upcall: &Upcall) -> UpcallItem {
    UpcallItem {
        mask: upcall.changes,
        cookie: upcall.cookie,
        interest: upcall.interest,
        version: upcall.version,
        attrs: upcall.attrs,
        ended: upcall.ended,
    }
}

/// The next event that passes the filter, as JSON. Never resolves without a stream.
async fn next_event(stream: Option<&mut EventStream>) -> Option<(u32, String)> {
    let Some(stream) = stream else { return std::future::pending().await };
    match stream.events.recv().await {
        Ok(event) if stream.filter.passes(&event) => Some((stream.tag, event.to_json(stream.lost))),
        Ok(_) => None,
        Err(broadcast::error::RecvError::Lagged(count)) => {
            stream.lost += count;
            None
        }
        // The daemon ends; the shutdown branch says so.
        Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
    }
}
