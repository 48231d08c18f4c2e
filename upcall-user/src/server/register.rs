//! REGISTER: a batch of files is found, and interests in them are made.

use std::{
    collections::VecDeque,
    ffi::OsString,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    sync::Arc,
};

use tokio::task::spawn_blocking;
use upcall_common::{
    change,
    wire::{Code, FEATURE_NAMES, Known, RegisterItem, Registered, Target as WireTarget},
};

use super::{Service, requests::lifetime, session::Peer, transport::close};
use crate::{
    access::{self, AccessError, Principal, Resolved, Target},
    hub::{self, ClientIndex, Origin, RegisterError, Waiting, Wanted, Wish},
};

/// Files that are open at a time for one step. Those of all steps under way are together a small part of the least
/// limit of open files in common use.
const STEP: usize = 128;

/// Steps of a batch that are under way at a time, each on a thread of its own: finding a file waits for disks, takes on
/// the peer's identity, and takes longer than all the rest.
pub const STEPS_AT_ONCE: usize = 2;

/// An item of the batch but for its target.
struct Terms {
    wish: Wish,
    lifetime_ms: u32,
    known: u64,
    named: bool,
}

/// One answer per item.
pub(super) async fn register(
    items: Vec<RegisterItem>,
    descriptors: Vec<OwnedFd>,
    peer: &Peer,
    client: ClientIndex,
    service: &Arc<Service>,
) -> Vec<Registered> {
    let mut descriptors: Vec<Option<OwnedFd>> = descriptors.into_iter().map(Some).collect();
    let mut answers: Vec<Registered> = Vec::with_capacity(items.len());
    let (mut places, mut targets) = (Vec::new(), Vec::new());
    for (place, item) in items.into_iter().enumerate() {
        let terms = Terms {
            wish: Wish { cookie: item.cookie, mask: item.mask, include_own: item.include_own },
            lifetime_ms: item.lifetime_ms,
            known: item.known_version,
            named: wants_names(&item, peer),
        };
        match target(item, &mut descriptors) {
            Ok(target) => {
                answers.push(Registered::refused(Code::Internal));
                places.push(place);
                targets.push((target, terms));
            }
            Err(code) => answers.push(Registered::refused(code)),
        }
    }
    close(descriptors).await;
    let mut targets = targets.into_iter();
    let mut steps = places.chunks(STEP).map(|places| {
        let (targets, terms): (Vec<_>, Vec<_>) = targets.by_ref().take(places.len()).unzip();
        let (service, principal) = (Arc::clone(service), peer.principal.clone());
        (places, spawn_blocking(move || step(&service, &principal, client, &targets, &terms)))
    });
    let mut under_way: VecDeque<_> = steps.by_ref().take(STEPS_AT_ONCE).collect();
    // To the end of all, also when one has failed: none may go on for a client that has left.
    while let Some((places, step)) = under_way.pop_front() {
        let made = step.await;
        under_way.extend(steps.next());
        match made {
            Ok(made) => {
                for (&place, made) in places.iter().zip(made) {
                    if let Some(answer) = answers.get_mut(place) {
                        *answer = made;
                    }
                }
            }
            Err(error) => tracing::error!(%error, "finding files to watch failed"),
        }
    }
    answers
}

fn wants_names(item: &RegisterItem, peer: &Peer) -> bool {
    item.names && item.mask & change::ENTRIES != 0 && peer.features & FEATURE_NAMES != 0
}

fn target(item: RegisterItem, descriptors: &mut [Option<OwnedFd>]) -> Result<Target, Code> {
    if item.mask == 0 || item.mask & !change::ALL != 0 {
        return Err(Code::BadMask);
    }
    named(item.target, descriptors)
}

pub(super) fn named(target: WireTarget, descriptors: &mut [Option<OwnedFd>]) -> Result<Target, Code> {
    let path = |bytes| PathBuf::from(OsString::from_vec(bytes));
    match target {
        WireTarget::Path(bytes) => Ok(Target::Path(path(bytes))),
        WireTarget::Handle { anchor, handle_type, handle } => {
            Ok(Target::Handle { anchor: path(anchor), handle_type, bytes: handle })
        }
        WireTarget::Descriptor(place) => descriptors
            .get_mut(usize::from(place))
            .and_then(Option::take)
            .map(Target::Descriptor)
            .ok_or(Code::BadTarget),
        WireTarget::Unrecognised(_) => Err(Code::BadTarget),
    }
}

/// A step of the batch; one answer per target. May wait for filesystems.
fn step(
    service: &Service,
    principal: &Principal,
    client: ClientIndex,
    targets: &[Target],
    terms: &[Terms],
) -> Vec<Registered> {
    let mut found = access::resolve_batch(&service.exports, principal, targets);
    // Before the interests: a name that nobody waits for is lost.
    let ask = |(found, terms): (&Result<Resolved, _>, &Terms)| {
        found.as_ref().ok().filter(|_| terms.named).map(|found| service.namer.ask(found))
    };
    let names: Vec<Option<Waiting>> = found.iter().zip(terms).map(ask).collect();
    let wanted =
        found.iter_mut().zip(terms).filter_map(|(found, terms)| Some(wanted(found.as_mut().ok()?, terms)));
    let mut made = service.hub.register(client, wanted.collect()).into_iter();
    let answers = found.iter().zip(terms).zip(names).map(|((found, terms), names)| match found {
        Ok(_) => {
            let made = made.next().unwrap_or(Err(RegisterError::Kernel));
            if let (Ok(made), Some(names)) = (&made, names) {
                service.hub.ask_names(made.interest, names);
            }
            answer(made, terms.known)
        }
        Err(error) => {
            tracing::debug!(%error, "registration refused");
            Registered::refused(refusal(error))
        }
    });
    answers.collect()
}

fn wanted<'a>(found: &'a mut Resolved, terms: &Terms) -> Wanted<'a> {
    let export = found.export;
    Wanted {
        origin: found.handle.take().map(|handle| Origin::new(export, handle)),
        file: found.fd.as_fd(),
        wish: terms.wish,
        lifetime: lifetime(terms.lifetime_ms),
        known: terms.known,
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
        AccessError::Exhausted(_) => {
            tracing::warn!(%error, "out of descriptors");
            Code::Limit
        }
        AccessError::Internal { .. } => {
            tracing::error!(%error, "cannot find a file");
            Code::Internal
        }
    }
}

fn answer(made: Result<hub::Registered, RegisterError>, known: u64) -> Registered {
    #[cfg(feature = "sabotage")]
    let made = made.map(|made| hub::Registered {
        unchanged: made.unchanged || crate::sabotage::says_unchanged(),
        ..made
    });
    match made {
        Ok(made) => Registered {
            code: Code::Ok,
            known: match (known, made.unchanged) {
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
