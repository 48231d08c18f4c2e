//! What each request asks of the hub, and its answer.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use upcall_common::wire::{self, Code, MAX_BATCH, Message, RenewItem};

use super::{
    Service,
    register::register,
    session::Peer,
    transport::{Transport, close},
};
use crate::{
    access::{Export, Exports},
    arbiter::Query,
    events::EventFilter,
    hub::{ClientIndex, Hub, NoInterest},
};

/// What to do about a request.
pub(super) enum Answer {
    Frame(Message),
    /// Answer once everything that has happened is sent.
    Barrier,
    /// Start a stream of events.
    Events(EventFilter),
    /// Show what is held.
    Show(Query),
    Nothing,
    /// Close the connection with this reason.
    End(Code, String),
}

impl Answer {
    pub(super) fn error(code: Code, message: impl Into<String>) -> Self {
        Self::Frame(Message::Error { code, message: message.into() })
    }
}

pub(super) async fn answer(
    message: Message,
    peer: &Peer,
    client: ClientIndex,
    transport: &mut Transport,
    service: &Arc<Service>,
) -> Answer {
    match message {
        Message::Register(items) => {
            let descriptors = transport.claim(wire::descriptors(&items));
            if items.len() > MAX_ITEMS {
                close(descriptors).await;
                return too_large(items.len());
            }
            Answer::Frame(Message::Registered(register(items, descriptors, peer, client, service).await))
        }
        Message::Unregister(ids) if ids.len() > MAX_ITEMS => too_large(ids.len()),
        Message::Renew(items) if items.len() > MAX_ITEMS => too_large(items.len()),
        Message::Unregister(ids) => Answer::Frame(Message::Unregistered(
            ids.into_iter().map(|id| code(service.hub.unregister(client, id))).collect(),
        )),
        Message::Renew(items) => Answer::Frame(Message::Renewed(
            items.into_iter().map(|item| renew(&service.hub, client, &item)).collect(),
        )),
        Message::Sync => Answer::Barrier,
        Message::Ping(bytes) => Answer::Frame(Message::Pong(bytes)),
        Message::Pong(_) => Answer::Nothing,
        Message::Status | Message::Events(_) if !peer.is_operator() => {
            let reason = "only root, or the daemon's own user, over the Unix socket";
            Answer::error(Code::NotPermitted, reason)
        }
        Message::Status => Answer::Frame(Message::StatusReply(status(service).await)),
        Message::Events(filter) => match EventFilter::parse(&filter) {
            Ok(filter) => Answer::Events(filter),
            Err(error) => Answer::End(Code::Malformed, format!("bad event filter: {error}")),
        },
        Message::Unknown { kind, .. } => {
            Answer::error(Code::UnknownType, format!("frame type {kind} is not known"))
        }
        Message::Hello(_) => Answer::End(Code::ExpectedHello, "HELLO comes once, and first".into()),
        _ => Answer::End(Code::Malformed, "a client does not send frames of this type".into()),
    }
}

const MAX_ITEMS: usize = MAX_BATCH as usize;

fn too_large(items: usize) -> Answer {
    Answer::error(Code::BatchTooLarge, format!("{items} items; a request may have {MAX_ITEMS}"))
}

async fn status(service: &Service) -> String {
    let state = match &service.arbiter {
        Some(arbiter) => arbiter.summary().await,
        None => None,
    };
    let mut status = service.about.clone();
    match (status.as_object_mut(), serde_json::to_value(service.hub.status())) {
        (Some(fields), Ok(hub)) => {
            fields.insert("exports_unavailable".into(), unavailable(&service.exports));
            fields.insert("state".into(), state.unwrap_or_default());
            fields.insert("hub".into(), hub);
        }
        (_, Err(error)) => tracing::error!(%error, "cannot describe the daemon's state"),
        _ => {}
    }
    status.to_string()
}

fn unavailable(exports: &Exports) -> Value {
    let of = |export: &Export| {
        let why = export.availability().why_not()?;
        Some(json!({"export": export.path().display().to_string(), "why": why}))
    };
    exports.roots().iter().filter_map(of).collect()
}

fn code(result: Result<(), NoInterest>) -> Code {
    match result {
        Ok(()) => Code::Ok,
        Err(NoInterest) => Code::NoInterest,
    }
}

pub(super) fn lifetime(ms: u32) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms.into()))
}

fn renew(hub: &Hub, client: ClientIndex, item: &RenewItem) -> Code {
    code(hub.renew(client, item.interest, lifetime(item.lifetime_ms)))
}
