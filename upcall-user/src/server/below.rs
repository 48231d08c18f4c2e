//! Children on their way to a client: each is looked at where the kernel saw it, and told if the client could see it
//! there.

use std::{collections::HashMap, os::fd::AsFd, sync::Arc};

use bytes::BytesMut;
use tokio::task::spawn_blocking;
use upcall_common::wire::{ChildItem, Fate as Told, UpcallBatch, UpcallItem};

use super::{Service, session::End, transport::Transport};
use crate::{
    access::{AccessError, Exports, Principal, There, Tree},
    hub::{Child, ClientIndex, Fate, Hub},
};

/// Children that are looked at before the client hears of them.
const STEP: usize = 256;

/// Sends some of the children that wait for the client, with turns up to `last`; whether there were any. The session
/// does nothing else meanwhile: what is told of the directory itself must not come before.
pub(super) async fn send(
    transport: &Transport,
    principal: &Principal,
    service: &Arc<Service>,
    client: ClientIndex,
    last: u64,
) -> Result<bool, End> {
    let children = service.hub.take_children(client, STEP, last);
    if children.is_empty() {
        return Ok(false);
    }
    let (work, principal) = (Arc::clone(service), principal.clone());
    let looked = spawn_blocking(move || look(&work.hub, &work.exports, &principal, client, children));
    match looked.await {
        Ok(items) => {
            for frame in frames(&items) {
                transport.write(frame).await?;
            }
            Ok(true)
        }
        // Nobody knows what has been lost: the connection ends, and the client starts anew.
        Err(error) => Err(End::Io(std::io::Error::other(error))),
    }
}

fn frames(items: &[UpcallItem]) -> Vec<BytesMut> {
    let mut frames = Vec::new();
    let mut left = items.iter().peekable();
    while left.peek().is_some() {
        let mut out = BytesMut::new();
        let mut batch = UpcallBatch::begin(&mut out);
        // An empty batch has room for any.
        while left.next_if(|item| batch.push(item)).is_some() {}
        batch.finish();
        frames.push(out);
    }
    frames
}

/// May wait for filesystems.
fn look(
    hub: &Hub,
    exports: &Exports,
    principal: &Principal,
    client: ClientIndex,
    children: Vec<Child>,
) -> Vec<UpcallItem> {
    let mut trees: HashMap<u64, Result<Tree<'_>, AccessError>> = HashMap::new();
    let mut items = Vec::with_capacity(children.len());
    for child in children {
        let tree = trees.entry(child.interest).or_insert_with(|| open(exports, principal, &child));
        let seen = match tree {
            Ok(tree) => see(hub, tree, &child),
            Err(AccessError::StaleHandle(_)) => {
                // The directory is gone, and the client hears of it.
                continue;
            }
            Err(error) => Err(AccessError::NotFound(error.to_string())),
        };
        match seen {
            Ok(Some(item)) => items.push(item),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "cannot look at what has changed below a directory");
                hub.rescan(client, child.interest);
            }
        }
    }
    items
}

fn open<'a>(exports: &Exports, principal: &'a Principal, child: &Child) -> Result<Tree<'a>, AccessError> {
    let origin = child
        .root
        .as_ref()
        .ok_or_else(|| AccessError::Unsupported("the directory's filesystem has no handles".to_owned()))?;
    Tree::open(exports, origin.export(), &origin.handle(), principal)
}

/// `None`: the client may not know.
fn see(hub: &Hub, tree: &Tree<'_>, child: &Child) -> Result<Option<UpcallItem>, AccessError> {
    if child.fate != Fate::Gone
        && let Some(there) = tree.look(&child.path)?
        && is_it(hub, &there, child)?
    {
        let fate = if child.fate == Fate::Appeared { Told::Appeared } else { Told::Stays };
        return Ok(Some(item(child, fate, Some(there))));
    }
    // Gone by now, or replaced; or it is there and may not be seen.
    Ok(tree.sees_absence(&child.path)?.then(|| item(child, Told::Gone, None)))
}

fn is_it(hub: &Hub, there: &There, child: &Child) -> Result<bool, AccessError> {
    let probe = hub
        .identify(there.fd.as_fd())
        .map_err(|error| AccessError::NotFound(format!("cannot identify a file: {error}")))?;
    Ok(probe.key == child.key && probe.generation == child.generation)
}

fn item(child: &Child, fate: Told, there: Option<There>) -> UpcallItem {
    let (ino, handle) = there.map_or((0, None), |there| (there.ino, there.handle));
    let (handle_type, handle) =
        handle.map_or((0, Vec::new()), |handle| (handle.handle_type, handle.bytes.to_vec()));
    UpcallItem {
        mask: child.changes,
        cookie: child.cookie,
        interest: child.interest,
        version: child.version,
        attrs: child.attrs.filter(|_| fate != Told::Gone),
        ended: false,
        names: Vec::new(),
        names_incomplete: false,
        child: Some(ChildItem {
            fate,
            directory: child.directory,
            links: child.links,
            ino,
            handle_type,
            handle,
            path: child.path.clone(),
            old_path: child.old_path.clone(),
        }),
    }
}
