//! HELLO and WELCOME, and the place in the hub that a client has from then on.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use upcall_common::wire::{
    Code, FEATURE_DESCRIPTORS, FEATURE_NAMES, FEATURE_SCOPES, FEATURE_STATE, Hello, MAX_BATCH, MAX_BODY,
    Message, VERSION, Welcome,
};

use super::{
    Service,
    children::{Children, Resolve},
    session::{End, Peer, Place, decode, frame},
    state::Holding,
    transport::Transport,
};
use crate::{access::Principal, hub::ClientIndex, scopes};

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

/// HELLO and WELCOME.
pub(super) async fn greet(
    transport: &mut Transport,
    peer: &mut Peer,
    service: &Arc<Service>,
    place: &Arc<Place>,
) -> Result<Seat, End> {
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
    peer.features = hello.features & (FEATURE_NAMES | FEATURE_SCOPES | state)
        | if peer.local { FEATURE_DESCRIPTORS } else { 0 };
    // What it missed while it was away is told when it registers; what nobody has noticed yet would not be.
    service.gaps.look(false).await;
    let Some((client, upcalls)) = service.hub.connect(peer.info.clone(), peer.process.take()) else {
        let reason = "the daemon has as many clients as it may have";
        return Err(End::Refused(Code::TooManyClients, reason.into(), tag));
    };
    let (gaps, holding) = (service.gaps.subscribe(), Holding::default());
    let children = Children::new(Arc::clone(&service.hub), client, resolve(service, &peer.principal, place));
    let seat = Seat { service: Arc::clone(service), client, upcalls, gaps, holding, children };
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

/// How children are looked for on the client's behalf. Its connection keeps its place for as long as that takes.
fn resolve(service: &Arc<Service>, principal: &Principal, place: &Arc<Place>) -> Resolve {
    let (service, principal, place) = (Arc::clone(service), principal.clone(), Arc::clone(place));
    Arc::new(move |children, listed| {
        let _held = &place;
        scopes::resolve(children, &principal, &service.exports, &service.hub, listed)
    })
}

/// A client's place in the hub, given up when the session ends, however it ends.
pub(super) struct Seat {
    pub(super) service: Arc<Service>,
    pub(super) client: ClientIndex,
    pub(super) upcalls: Arc<Notify>,
    pub(super) gaps: watch::Receiver<u64>,
    pub(super) holding: Holding,
    pub(super) children: Children,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Before its number may be another client's.
        self.service.outlets.remove(self.client);
        self.service.hub.disconnect(self.client);
    }
}
