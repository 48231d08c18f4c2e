//! What each request asks of the hub, and its answer.

use std::{
    ffi::OsString,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use upcall_common::{
    change,
    wire::{
        self, Code, FEATURE_NAMES, Known, MAX_BATCH, Message, RegisterItem, Registered, RenewItem,
        Target as WireTarget,
    },
};

use super::{
    Service,
    session::Peer,
    transport::{Transport, close},
};
use crate::{
    access::{self, AccessError, Export, Exports, Principal, Resolved, Target},
    events::EventFilter,
    hub::{ClientIndex, Hub, Inode, NoInterest, Origin, RegisterError, Waiting, Wish},
};

/// What to do about a request.
pub(super) enum Answer {
    Frame(Message),
    /// Answer once everything that has happened is sent.
    Barrier,
    /// Start a stream of events.
    Events(EventFilter),
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
        Message::Status => Answer::Frame(Message::StatusReply(status(service))),
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

fn status(service: &Service) -> String {
    let mut status = service.about.clone();
    match (status.as_object_mut(), serde_json::to_value(service.hub.status())) {
        (Some(fields), Ok(hub)) => {
            fields.insert("exports_unavailable".into(), unavailable(&service.exports));
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

fn lifetime(ms: u32) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms.into()))
}

fn renew(hub: &Hub, client: ClientIndex, item: &RenewItem) -> Code {
    code(hub.renew(client, item.interest, lifetime(item.lifetime_ms)))
}

/// Files of a batch that are found in one go. Those of the step before may be open as well: together a small part
/// of the least limit of open files in common use.
const FOUND_AT_ONCE: usize = 128;

/// Finds the files on a thread of its own, since that waits for disks and takes on the peer's identity; makes
/// interests of those of one step while those of the next are found.
async fn register(
    items: Vec<RegisterItem>,
    descriptors: Vec<OwnedFd>,
    peer: &Peer,
    client: ClientIndex,
    service: &Arc<Service>,
) -> Vec<Registered> {
    let mut descriptors: Vec<Option<OwnedFd>> = descriptors.into_iter().map(Some).collect();
    let mut answers: Vec<Registered> = Vec::with_capacity(items.len());
    let (mut places, mut targets) = (Vec::new(), Vec::new());
    for (place, item) in items.iter().enumerate() {
        match target(item, &mut descriptors) {
            Ok(target) => {
                answers.push(Registered::refused(Code::Internal));
                places.push(place);
                targets.push(target);
            }
            Err(code) => answers.push(Registered::refused(code)),
        }
    }
    close(descriptors).await;
    let mut targets = targets.into_iter();
    let mut steps = places.chunks(FOUND_AT_ONCE).map(|places| {
        let targets: Vec<Target> = targets.by_ref().take(places.len()).collect();
        let named = places.iter().map(|place| items.get(*place).is_some_and(|item| wants_names(item, peer)));
        let named: Vec<bool> = named.collect();
        let (finder, principal) = (Arc::clone(service), peer.principal.clone());
        (places, spawn_blocking(move || find(&finder, &principal, &targets, &named)))
    });
    let mut step = steps.next();
    while let Some((places, finding)) = step {
        let Ok(resolved) = finding.await else {
            tracing::error!("finding files to watch failed");
            return answers;
        };
        // Not before this step has ended: a connection may keep one thread waiting, no more.
        step = steps.next();
        for (&place, found) in places.iter().zip(resolved) {
            let (Some(answer), Some(item)) = (answers.get_mut(place), items.get(place)) else { continue };
            *answer = match found {
                Ok((found, names)) => interest(&service.hub, client, item, found, names),
                Err(error) => {
                    tracing::debug!(%error, "registration refused");
                    Registered::refused(refusal(&error))
                }
            };
        }
    }
    answers
}

fn wants_names(item: &RegisterItem, peer: &Peer) -> bool {
    item.names && item.mask & change::ENTRIES != 0 && peer.features & FEATURE_NAMES != 0
}

/// Finds files, and has the kernel report names where they are wanted. May wait for filesystems.
fn find(
    service: &Service,
    principal: &Principal,
    targets: &[Target],
    named: &[bool],
) -> Vec<Result<(Resolved, Option<Waiting>), AccessError>> {
    let found = access::resolve_batch(&service.exports, principal, targets);
    let with_names = found.into_iter().zip(named).map(|(found, named)| {
        let found = found?;
        let names = named.then(|| service.namer.ask(&found));
        Ok((found, names))
    });
    with_names.collect()
}

fn target(item: &RegisterItem, descriptors: &mut [Option<OwnedFd>]) -> Result<Target, Code> {
    if item.mask == 0 || item.mask & !change::ALL != 0 {
        return Err(Code::BadMask);
    }
    named(&item.target, descriptors)
}

pub(super) fn named(target: &WireTarget, descriptors: &mut [Option<OwnedFd>]) -> Result<Target, Code> {
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    match target {
        WireTarget::Path(bytes) => Ok(Target::Path(path(bytes))),
        WireTarget::Handle { anchor, handle_type, handle } => {
            Ok(Target::Handle { anchor: path(anchor), handle_type: *handle_type, bytes: handle.clone() })
        }
        WireTarget::Descriptor(place) => descriptors
            .get_mut(usize::from(*place))
            .and_then(Option::take)
            .map(Target::Descriptor)
            .ok_or(Code::BadTarget),
        WireTarget::Unrecognised(_) => Err(Code::BadTarget),
    }
}

pub(super) fn refusal(error: &AccessError) -> Code {
    match error {
        AccessError::NotExported(_) => Code::NotExported,
        AccessError::NotPermitted(_) => Code::NotPermitted,
        AccessError::NotFound(_) => Code::NotFound,
        AccessError::StaleHandle(_) => Code::StaleHandle,
        AccessError::BadTarget(_) => Code::BadTarget,
        AccessError::BadName(_) => Code::BadName,
        AccessError::Unsupported(_) => Code::Unsupported,
        AccessError::Internal { .. } => {
            tracing::error!(%error, "cannot find a file");
            Code::Internal
        }
    }
}

fn interest(
    hub: &Hub,
    client: ClientIndex,
    item: &RegisterItem,
    found: Resolved,
    names: Option<Waiting>,
) -> Registered {
    let wish = Wish { cookie: item.cookie, mask: item.mask, include_own: item.include_own };
    let export = found.export;
    let origin = found.handle.map(|handle| Origin { export, handle });
    let inode = Inode { fd: found.fd.as_fd(), origin };
    let made = hub.register(client, inode, wish, lifetime(item.lifetime_ms), item.known_version);
    #[cfg(feature = "sabotage")]
    let made = made.map(|made| crate::hub::Registered {
        unchanged: made.unchanged || crate::sabotage::says_unchanged(),
        ..made
    });
    if let (Ok(made), Some(names)) = (&made, names) {
        hub.ask_names(made.interest, names);
    }
    match made {
        Ok(made) => Registered {
            code: Code::Ok,
            known: match (item.known_version, made.unchanged) {
                (0, _) => Known::None,
                (_, true) => Known::Unchanged,
                (_, false) => Known::Changed,
            },
            interest: made.interest,
            version: made.version,
            attrs: made.attrs,
        },
        Err(error) => Registered::refused(match error {
            RegisterError::NoSlots => Code::NoSlots,
            RegisterError::Limit => Code::Limit,
            RegisterError::Unsupported => Code::Unsupported,
            RegisterError::Kernel => Code::Internal,
        }),
    }
}
