//! As many registrations as one frame may carry.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use upcall_common::wire::{
    Code, FEATURE_DESCRIPTORS, FEATURE_STATE, MAX_BODY, MAX_DESCRIPTORS, Message, RegisterItem, Welcome,
};

use super::Request;
use crate::Watch;

/// What the daemon accepts on this connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) batch: usize,
    body: usize,
    pub(super) descriptors: bool,
    /// The daemon holds state for clients.
    pub(super) state: bool,
}

impl Limits {
    pub(crate) fn of(welcome: &Welcome) -> Self {
        Self {
            batch: usize::try_from(welcome.max_batch).unwrap_or(usize::MAX).max(1),
            body: usize::try_from(welcome.max_body.min(MAX_BODY)).unwrap_or(usize::MAX),
            descriptors: welcome.features & FEATURE_DESCRIPTORS != 0,
            state: welcome.features & FEATURE_STATE != 0,
        }
    }
}

/// A REGISTER frame, and the keys of what is in it.
pub(super) struct Batch<K> {
    pub(super) sent: Vec<K>,
    /// Those that no frame can carry.
    pub(super) refused: Vec<(K, Code)>,
    items: Vec<RegisterItem>,
    files: Vec<Arc<OwnedFd>>,
}

impl<K> Batch<K> {
    /// Takes keys off `queue`, as many as fit. `view` gives the watch and the version known of it, or
    /// `None` for a key that is to be skipped.
    pub(super) fn fill(
        queue: &mut VecDeque<K>,
        limits: &Limits,
        view: impl Fn(&K) -> Option<(Watch, u64)>,
    ) -> Self {
        let mut batch = Self { sent: Vec::new(), refused: Vec::new(), items: Vec::new(), files: Vec::new() };
        let mut bytes = 4;
        while let Some(key) = queue.pop_front() {
            let Some((watch, known_version)) = view(&key) else { continue };
            if let Some(code) = watch.target().unsendable(limits.descriptors) {
                batch.refused.push((key, code));
                continue;
            }
            let item = watch.item(known_version, u8::try_from(batch.files.len()).unwrap_or(u8::MAX));
            bytes += item.wire_len();
            let full = batch.items.len() >= limits.batch
                || bytes > limits.body
                || (watch.target().file().is_some() && batch.files.len() >= MAX_DESCRIPTORS);
            // A single item always goes: if even that is too much, the daemon says so.
            if full && !batch.items.is_empty() {
                queue.push_front(key);
                break;
            }
            batch.files.extend(watch.target().file().cloned());
            batch.items.push(item);
            batch.sent.push(key);
        }
        batch
    }

    /// The frame; `None` when there is nothing to send.
    pub(super) fn into_request(self) -> Option<Request> {
        (!self.items.is_empty()).then_some((Message::Register(self.items), self.files))
    }
}
