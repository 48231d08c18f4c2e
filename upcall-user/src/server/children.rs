//! What has changed below directories, on its way to one client: taken from the hub, looked for on a thread that may
//! wait, and made into frames. One batch at a time, so that none overtakes an earlier one.

use std::{future::pending, sync::Arc};

use bytes::BytesMut;
use tokio::task::{JoinHandle, spawn_blocking};
use upcall_common::wire::{ChildItem, Fate, UpcallBatch, UpcallItem};

use crate::{
    hub::{Child, ClientIndex, Hub},
    scopes::{BATCH, Batch, Listed, Told},
};

/// Looks for children; may wait for filesystems.
pub(super) type Resolve = Arc<dyn Fn(Vec<Child>, &mut Listed) -> Batch + Send + Sync>;

pub(super) struct Children {
    hub: Arc<Hub>,
    client: ClientIndex,
    resolve: Resolve,
    listed: Listed,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    task: JoinHandle<(Batch, Listed)>,
    /// Of the batch, each once.
    interests: Vec<u64>,
}

impl Children {
    pub(super) fn new(hub: Arc<Hub>, client: ClientIndex, resolve: Resolve) -> Self {
        Self { hub, client, resolve, listed: Listed::default(), under_way: None }
    }

    /// Sees to it that a batch is under way, if any child waits with a turn up to `last`; whether one is.
    pub(super) fn start(&mut self, last: u64) -> bool {
        if self.under_way.is_none() {
            let children = self.hub.take_children(self.client, BATCH, last);
            if children.is_empty() {
                return false;
            }
            let mut interests: Vec<u64> = children.iter().map(|child| child.interest).collect();
            interests.sort_unstable();
            interests.dedup();
            let (resolve, mut listed) = (Arc::clone(&self.resolve), std::mem::take(&mut self.listed));
            let task = spawn_blocking(move || (resolve(children, &mut listed), listed));
            self.under_way = Some(UnderWay { task, interests });
        }
        true
    }

    /// Whether [`Children::finished`] need not wait.
    pub(super) fn is_finished(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.task.is_finished())
    }

    /// Waits for the batch that is under way; its frames, to be written before
    /// [`Children::told`]. Without one never resolves. Cancel-safe.
    pub(super) async fn finished(&mut self) -> BytesMut {
        let Some(UnderWay { task, interests }) = &mut self.under_way else { return pending().await };
        let (told, lost) = match task.await {
            Ok((Batch { told, lost }, listed)) => {
                self.listed = listed;
                (told, lost)
            }
            Err(error) => {
                tracing::error!(%error, "finding what has changed below a directory failed");
                (Vec::new(), std::mem::take(interests))
            }
        };
        self.under_way = None;
        let (frames, all) = frames(told);
        for interest in lost {
            self.hub.rescan(self.client, interest);
        }
        debug_assert!(all, "an empty frame has room for any item");
        frames
    }

    /// The frames of a batch leave before all that is written from now on.
    pub(super) fn told(&self) {
        self.hub.children_told(self.client);
    }
}

/// Whether all have found room.
fn frames(told: Vec<Told>) -> (BytesMut, bool) {
    let mut out = BytesMut::new();
    let mut all = true;
    let mut batch = UpcallBatch::begin(&mut out);
    for item in told.into_iter().map(item) {
        if !batch.push(&item) {
            batch.finish();
            batch = UpcallBatch::begin(&mut out);
            all &= batch.push(&item);
        }
    }
    batch.finish();
    (out, all)
}

fn item(told: Told) -> UpcallItem {
    let (handle_type, handle) =
        told.handle.map_or((0, Vec::new()), |handle| (handle.handle_type, handle.bytes.to_vec()));
    UpcallItem {
        mask: told.changes,
        cookie: told.cookie,
        interest: told.interest,
        version: told.version,
        attrs: told.attrs,
        ended: false,
        names: Vec::new(),
        names_incomplete: false,
        child: Some(ChildItem {
            fate: match (told.gone, told.appeared) {
                (true, _) => Fate::Gone,
                (false, true) => Fate::Appeared,
                (false, false) => Fate::Stays,
            },
            directory: told.directory,
            links: told.links,
            ino: told.ino,
            handle_type,
            handle,
            path: told.path,
            old_path: told.old_path,
        }),
    }
}

#[cfg(test)]
mod tests;
