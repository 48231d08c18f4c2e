//! One client's connection, from HELLO to the end.

use std::{io, sync::Arc};

use bytes::BytesMut;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc, watch},
    time::timeout,
};
use upcall_common::wire::{
    self, Code, DecodeError, FEATURE_DESCRIPTORS, FEATURE_NAMES, FEATURE_STATE, Hello, MAX_BATCH, MAX_BODY,
    Message, ResyncReason, VERSION, Welcome,
};

use super::{
    Service,
    events::{EventStream, next_events},
    feed::{Feed, ending},
    link::Link,
    requests::{self, Answer},
    state::{self, Holding},
    stream::Stream,
    transport::Transport,
};
use crate::{
    access::Principal,
    hub::{self, ClientIndex, ClientInfo, Process},
};

/// A connection's place among those that there may be, and a sign that it lives.
pub(super) struct Place {
    pub(super) _permit: OwnedSemaphorePermit,
    pub(super) _alive: mpsc::Sender<()>,
}

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) info: ClientInfo,
    pub(super) principal: Principal,
    pub(super) process: Option<Process>,
    /// Over a Unix socket: descriptors may come, and operators are known by their uid.
    pub(super) local: bool,
    /// That both sides can use.
    pub(super) features: u64,
}

impl Peer {
    pub(super) fn is_operator(&self) -> bool {
        self.local && self.principal.is_operator()
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Io(io::Error),
    #[error("{code}: {reason}", code = .0.as_str(), reason = .1)]
    Refused(Code, String, u32),
    #[error("the daemon ends")]
    Shutdown,
    #[error("the client has left")]
    Left,
    #[error("another connection of the same client has taken over")]
    Superseded,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // What came makes no sense: the client is told so, as of a frame that does not.
            io::ErrorKind::InvalidData => Self::Refused(Code::Malformed, error.to_string(), 0),
            _ => Self::Io(error),
        }
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.code(), error.to_string(), error.tag())
    }
}

/// Runs the session; its end is told to the client where it can be, and logged. `place` is held until all
/// that the session has opened is closed.
pub(super) async fn run(stream: Stream, peer: Peer, service: Arc<Service>, place: Place) {
    let mut transport = Transport::new(stream, service.stall_timeout);
    converse(&mut transport, peer, service).await;
    transport.close_descriptors().await;
    drop(place);
}

async fn converse(transport: &mut Transport, mut peer: Peer, service: Arc<Service>) {
    let greeting = greet(transport, &mut peer, &service);
    let end = match timeout(service.hello_timeout, greeting).await {
        Ok(Ok(mut seat)) => work(transport, &peer, &mut seat).await,
        Ok(Err(end)) => end,
        Err(_) => End::Refused(Code::TimedOut, "no HELLO in time".into(), 0),
    };
    let (name, address) = (&peer.info.name, &peer.info.address);
    match &end {
        // A client that leaves without reading what waited resets the connection.
        End::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            tracing::debug!(name, address, %end, "client disconnected")
        }
        End::Left | End::Shutdown | End::Superseded => {
            tracing::debug!(name, address, %end, "client disconnected")
        }
        _ => tracing::warn!(name, address, %end, "client disconnected"),
    }
    let farewell = match end {
        End::Refused(code, message, tag) => (Message::Error { code, message }, tag),
        // Changes go on being marked, and a client that comes back learns what changed: no need to start anew.
        End::Shutdown if service.pinned => return,
        End::Shutdown => {
            (Message::Resync { reason: ResyncReason::Shutdown, text: "the daemon ends".into() }, 0)
        }
        End::Io(_) | End::Left | End::Superseded => return,
    };
    // The client may be gone or not read: then it learns from the closed connection.
    let _ = transport.write(frame(&farewell.0, farewell.1)).await;
}

pub(super) fn frame(message: &Message, tag: u32) -> BytesMut {
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

/// More than any HELLO needs: somebody who has not even said it gets no more memory.
const MAX_HELLO: usize = 4096;

async fn receive_hello(transport: &mut Transport) -> Result<(u32, Message), End> {
    loop {
        if let Some(request) = decode(transport)? {
            return Ok(request);
        }
        if transport.inbox.len() > MAX_HELLO {
            return Err(End::Refused(Code::ExpectedHello, "the first frame must be HELLO".into(), 0));
        }
        if transport.read().await? == 0 {
            return Err(End::Left);
        }
    }
}

fn decode(transport: &mut Transport) -> Result<Option<(u32, Message)>, End> {
    if transport.inbox.is_empty() {
        return Ok(None);
    }
    transport.refuse_surplus()?;
    Ok(wire::decode(&mut transport.inbox)?)
}

/// HELLO and WELCOME.
async fn greet(transport: &mut Transport, peer: &mut Peer, service: &Arc<Service>) -> Result<Seat, End> {
    let (tag, message) = receive_hello(transport).await?;
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
    // Passing descriptors needs no consent.
    let state = if service.arbiter.is_some() { FEATURE_STATE } else { 0 };
    peer.features =
        hello.features & (FEATURE_NAMES | state) | if peer.local { FEATURE_DESCRIPTORS } else { 0 };
    // What it missed while it was away is told when it registers; what nobody has noticed yet would not be.
    service.gaps.look(false).await;
    let Some((client, upcalls)) = service.hub.connect(peer.info.clone(), peer.process.take()) else {
        let reason = "the daemon has as many clients as it may have";
        return Err(End::Refused(Code::TooManyClients, reason.into(), tag));
    };
    let (gaps, holding) = (service.gaps.subscribe(), Holding::default());
    let seat = Seat { service: Arc::clone(service), client, upcalls, gaps, holding };
    let welcome = Welcome {
        version,
        max_body: MAX_BODY,
        max_batch: MAX_BATCH,
        features: peer.features,
        epoch: service.epoch,
        server: concat!("upcall ", env!("CARGO_PKG_VERSION")).into(),
    };
    service.outlets.insert(client, Arc::clone(&transport.outlet));
    transport.write(frame(&Message::Welcome(welcome), tag)).await?;
    Ok(seat)
}

/// A client's place in the hub, given up when the session ends, however it ends.
struct Seat {
    service: Arc<Service>,
    client: ClientIndex,
    upcalls: Arc<Notify>,
    gaps: watch::Receiver<u64>,
    holding: Holding,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before its number may be another client's.
        self.service.outlets.remove(self.client);
        self.service.hub.disconnect(self.client);
    }
}

async fn work(transport: &mut Transport, peer: &Peer, seat: &mut Seat) -> End {
    let mut stream = None;
    loop {
        match turn(transport, peer, seat, &mut stream).await {
            Ok(()) => {}
            Err(End::Shutdown) => {
                let caught_up = catch_up(transport, &seat.service, seat.client).await;
                return caught_up.err().unwrap_or(End::Shutdown);
            }
            Err(end) => return end,
        }
    }
}

/// Sends what waits, then answers one request or waits for something to do.
async fn turn(
    transport: &mut Transport,
    peer: &Peer,
    seat: &mut Seat,
    stream: &mut Option<EventStream>,
) -> Result<(), End> {
    let Seat { service, client, upcalls, gaps, holding } = seat;
    let (mut shutdown, mut next_gap) = (service.shutdown.clone(), gaps.clone());
    let mut feed =
        Feed { hub: &service.hub, client: *client, woken: upcalls, gaps, shutdown: shutdown.clone() };
    let more = feed.send(transport).await?;
    if let Some((tag, message)) = decode(transport)? {
        let answer = match message {
            Message::StateRequest(request) => {
                let descriptors = transport.claim(state::descriptors(&request));
                let outlet = Arc::clone(&transport.outlet);
                let link = Link { outlet, session: Arc::clone(upcalls), pid: peer.info.pid, client: *client };
                let asked = state::Asked { request, tag, descriptors, link };
                let answer = state::answer(asked, peer, service, holding);
                feed.beside(transport, service.stall_timeout, answer).await?
            }
            message => requests::answer(message, peer, *client, transport, service).await,
        };
        match answer {
            Answer::Frame(message) => transport.write(frame(&message, tag)).await?,
            Answer::Barrier => {
                // A gap that nobody has noticed yet must not be told behind the barrier.
                service.gaps.look(false).await;
                feed.tell_of_gap(transport).await?;
                catch_up(transport, service, *client).await?;
                transport.write(frame(&Message::Synced, tag)).await?;
            }
            Answer::Events(filter) => {
                let (events, watching) = (service.events.subscribe(), service.event_switch.watch());
                let own = peer.info.pid;
                *stream = Some(EventStream { tag, filter, own, events, lost: 0, _watching: watching });
            }
            Answer::Show(query) => state::send_shown(query, tag, transport, service, &mut feed).await?,
            Answer::Nothing => {}
            Answer::End(code, message) => return Err(End::Refused(code, message, tag)),
        }
        return Ok(());
    }
    if !transport.outlet.open() {
        return Ok(());
    }
    tokio::select! {
        // The hub wakes a client only when its set was empty: whoever leaves some must come back for them.
        () = std::future::ready(()), if more => {}
        () = upcalls.notified() => {}
        // An error means that the daemon is gone.
        _ = next_gap.changed() => {}
        read = transport.read() => if read? == 0 { return Err(End::Left) },
        events = next_events(stream.as_mut()) => transport.write(events).await?,
        () = ending(&mut shutdown) => return Err(End::Shutdown),
    }
    Ok(())
}

/// Sends every upcall for changes that were complete at the call. Later ones may stay: a file that is written
/// all the time must not put the end off.
async fn catch_up(transport: &mut Transport, service: &Service, client: ClientIndex) -> Result<(), End> {
    for slots in service.hub.slots_of(client).chunks(hub::STEP) {
        service.hub.catch_up(slots);
        tokio::task::yield_now().await;
    }
    // After the slots, so that names go with what waits.
    service.namer.drain(&service.hub);
    let last = service.hub.last_turn(client);
    while transport.send_upcalls(&service.hub, client, last).await? {}
    Ok(())
}
