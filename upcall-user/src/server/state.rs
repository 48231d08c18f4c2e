//! Requests about state: finds the files that they name, as the client's user, and hands them to the arbiter.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use tokio::task::spawn_blocking;
use upcall_common::{
    abi::Probe,
    wire::{self, Code, Json, Message, ShownFlags, StateAnswer, StateRequest, StateShown},
};

use super::{
    Service,
    feed::Feed,
    kind::Kind,
    link::Link,
    register::{named, refusal},
    requests::Answer,
    session::{End, Peer, frame},
    transport::{Transport, close},
};
use crate::{
    access::{self, AccessError, Openable, Principal, Target},
    arbiter::{self, Begun, Found, Named, Query},
};

/// Of one session.
#[derive(Debug, Default)]
pub(super) struct Holding(Option<Begun>);

pub(super) struct Asked {
    pub(super) request: StateRequest,
    pub(super) tag: u32,
    /// What came with it.
    pub(super) descriptors: Vec<OwnedFd>,
    /// By which the arbiter answers.
    pub(super) link: Link,
}

/// How many come with a request.
pub(super) fn descriptors(request: &StateRequest) -> usize {
    target(request).map_or(0, wire::Target::descriptors)
}

pub(super) async fn answer(
    asked: Asked,
    peer: &Peer,
    service: &Arc<Service>,
    holding: &mut Holding,
) -> Answer {
    let Asked { request, tag, descriptors, link } = asked;
    let Some(arbiter) = &service.arbiter else {
        close(descriptors).await;
        return Answer::error(Code::UnknownType, "this daemon holds no state for clients");
    };
    match (&request, &holding.0) {
        (StateRequest::StateBegin(_), Some(_)) => {
            Answer::End(Code::Malformed, "STATE_BEGIN comes once on a connection".into())
        }
        (StateRequest::StateBegin(begin), None) => {
            let (uid, name) = (peer.principal.uid, peer.info.name.clone());
            holding.0 = arbiter.begin(link, begin.identity, uid, name, tag).await;
            Answer::Nothing
        }
        (StateRequest::StateQuery(_), begun) => {
            show(request, descriptors, peer, service, begun.as_ref()).await
        }
        (_, None) => {
            close(descriptors).await;
            let text = "send STATE_BEGIN first";
            Answer::state(arbiter::refusal(&request, Code::NotBegun, text))
        }
        (StateRequest::Open(open), Some(begun)) => {
            let writes = open.access != wire::Access::Read;
            match find(open.target.clone(), descriptors, writes, peer, service).await {
                Ok(named) => {
                    arbiter.ask(begun, tag, request, Some(named)).await;
                    Answer::Nothing
                }
                Err((code, text)) => Answer::state(arbiter::refusal(&request, code, text)),
            }
        }
        (_, Some(begun)) => {
            arbiter.ask(begun, tag, request, None).await;
            Answer::Nothing
        }
    }
}

fn target(request: &StateRequest) -> Option<&wire::Target> {
    match request {
        StateRequest::Open(open) => Some(&open.target),
        StateRequest::StateQuery(query) => query.target.as_ref(),
        _ => None,
    }
}

async fn show(
    request: StateRequest,
    descriptors: Vec<OwnedFd>,
    peer: &Peer,
    service: &Arc<Service>,
    begun: Option<&Begun>,
) -> Answer {
    let StateRequest::StateQuery(query) = request else { return Answer::Nothing };
    let only = match (peer.is_operator(), begun) {
        (true, _) => None,
        (false, Some(begun)) => Some(begun),
        (false, None) => {
            close(descriptors).await;
            return Answer::error(
                Code::NotPermitted,
                "who is no operator is shown what it holds: STATE_BEGIN first",
            );
        }
    };
    let key = match query.target {
        None => None,
        Some(target) => match find(target, descriptors, false, peer, service).await {
            Ok(named) => Some(named.found.key()),
            Err((code, text)) => return Answer::error(code, text),
        },
    };
    Answer::Show(Query::new(only, key))
}

/// Sends what is held page by page, each made when the client has had room for the one before.
pub(super) async fn send_shown(
    query: Query,
    tag: u32,
    transport: &Transport,
    service: &Service,
    feed: &mut Feed<'_>,
) -> Result<(), End> {
    let Some(arbiter) = &service.arbiter else { return Ok(()) };
    let mut from = None;
    loop {
        let page = arbiter.show(query, from).await.ok_or(End::Shutdown)?;
        let (flags, json) = (ShownFlags { more: page.next.is_some() }, Json(page.json));
        let answer = StateAnswer::StateShown(StateShown { flags, json });
        transport.write(frame(&Message::StateAnswer(answer), tag)).await?;
        from = Some(match page.next {
            None => return Ok(()),
            Some(next) => next,
        });
        if *feed.shutdown.borrow() {
            return Err(End::Shutdown);
        }
        feed.send(transport).await?;
    }
}

/// Finds a file on a thread of its own, since that waits for disks and takes on the peer's identity.
async fn find(
    target: wire::Target,
    descriptors: Vec<OwnedFd>,
    writes: bool,
    peer: &Peer,
    service: &Arc<Service>,
) -> Result<Named, (Code, String)> {
    let mut descriptors: Vec<Option<OwnedFd>> = descriptors.into_iter().map(Some).collect();
    let target = named(target, &mut descriptors);
    close(descriptors).await;
    let target =
        target.map_err(|code| (code, "the target cannot be used: name the file another way".to_owned()))?;
    let (finder, principal) = (Arc::clone(service), peer.principal.clone());
    let found = spawn_blocking(move || look(&finder, &principal, target, writes)).await;
    found
        .unwrap_or_else(|_| Err((Code::Internal, "finding the file failed: see the daemon's log".to_owned())))
}

fn look(
    service: &Service,
    principal: &Principal,
    target: Target,
    writes: bool,
) -> Result<Named, (Code, String)> {
    let said = |error: AccessError| (refusal(&error), error.to_string());
    let Openable { resolved, writable } =
        access::resolve_open(&service.exports, principal, &target, writes).map_err(said)?;
    let export = service.exports.innermost(&resolved);
    let probe =
        service.hub.identify(resolved.fd.as_fd()).map_err(|error| (Code::Unsupported, error.to_string()))?;
    let Kind { is_directory, is_local } =
        Kind::of(resolved.fd.as_fd()).map_err(|error| (Code::Internal, error.to_string()))?;
    let passed = match target {
        Target::Descriptor(passed)
            if writes && is_local && access::is_writable(passed.as_fd()).unwrap_or(false) =>
        {
            Some(passed)
        }
        _ => None,
    };
    let (fd, Probe { key, generation, .. }) = (resolved.fd, probe);
    let found = Arc::new(Found { fd, key, generation, is_directory, is_local });
    Ok(Named { found, export, writable, passed })
}

impl Answer {
    fn state(answer: StateAnswer) -> Self {
        Self::Frame(Message::StateAnswer(answer))
    }
}
