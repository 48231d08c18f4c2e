//! A child from its mark to its end.

use std::time::Instant;

use upcall_common::{
    abi::{Attrs, BUSY_SHARED, Key, Originator, Probe},
    change::{ALL, DATA, EARLY, MODE, VOLATILE, XATTR},
};

use super::{Below, Located, pool::Before};
use crate::hub::{
    ClientIndex, State,
    settle::{self, alone, difference, may_stay_silent},
    trail::Unsettled,
};

/// What has become of a child.
#[derive(Clone, Debug)]
pub(in crate::hub) struct Changed {
    pub(in crate::hub) key: Key,
    pub(in crate::hub) generation: u32,
    pub(in crate::hub) changes: u32,
    /// What a write may have done besides: take away set-user-id bits and capabilities.
    pub(in crate::hub) unsure: u32,
    /// It is not in memory.
    pub(in crate::hub) unseen: bool,
    pub(in crate::hub) originator: Originator,
    pub(in crate::hub) attrs: Option<Attrs>,
    pub(in crate::hub) directory: bool,
    pub(in crate::hub) links: bool,
    pub(in crate::hub) before: Vec<Below>,
    pub(in crate::hub) now: Vec<Below>,
}

impl State {
    /// Takes what is pending of a child.
    pub(super) fn take_child(&mut self, child: u32, wake: &mut Vec<ClientIndex>) {
        let Some(view) = self.children.pool.get(child) else { return };
        let word = view.take();
        if word.is_clean() || !self.children.pool.is_taken(child) {
            return;
        }
        let early = self.kernel.marks_early() || word.changes() & EARLY != 0;
        let now = self.kernel.coarse_now();
        // What came early is still to be looked at, and this goes with it.
        let waits = early || self.children.trail.contains(child);
        self.children.trail.note(child, word.changes() & ALL, word.originator(), now);
        if !waits && let Some(unsettled) = self.children.trail.remove(child) {
            self.settle_child(child, unsettled, now, wake);
        }
    }

    /// Looks at a child and tells what has been marked. While its inode is busy it stays in the trail.
    pub(super) fn settle_child(
        &mut self,
        child: u32,
        unsettled: Unsettled,
        now: u64,
        wake: &mut Vec<ClientIndex>,
    ) {
        let Some(view) = self.children.pool.get(child) else { return };
        let (key, generation, inode) = (view.key(), view.generation(), view.inode());
        let old = view.last_attrs();
        let Before { below, elsewhere, stayed, cut } = self.children.pool.before(child);
        let first = if elsewhere { Vec::new() } else { below.clone() };
        let before = self.children.known.get(&child).cloned().unwrap_or(first);
        let clock = self.kernel.coarse_realtime();
        let (probe, located) = self.kernel.locate(inode).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look for an inode");
            (None, Vec::new())
        });
        let probe = probe.filter(|probe| is_same(probe, key, generation));
        let entered = key;
        let (key, generation) = probe.map_or((key, generation), |probe| (probe.key, probe.generation));
        // It may have come into a scope and left memory since, unless it was removed: that would have shown where.
        let unknown = probe.is_none()
            && before.is_empty()
            && below.is_empty()
            // A new one of XFS, whose later marks have its number: its directory's ENTRIES speak for it.
            && entered.ino != 0
            && !stayed
            && !self.is_removed(inode, key, generation);
        if unknown {
            tracing::debug!(
                ?key,
                generation,
                changes = unsettled.changes,
                "an inode has gone, and nobody knows from where"
            );
        }
        if cut || unknown || probe.is_some() && located.iter().any(|place| place.cut) {
            self.rescan_scopes(wake);
        }
        let changed = Changed {
            key,
            generation,
            changes: unsettled.changes,
            unsure: 0,
            unseen: probe.is_none(),
            originator: unsettled.originator,
            attrs: None,
            directory: false,
            links: false,
            // Out of memory it may still be where it was: whoever tells it looks.
            now: if before.is_empty() { below } else { before.clone() },
            before,
        };
        let Some(probe) = probe else {
            self.tell_child(changed, wake);
            return self.end_child(child, entered, now);
        };
        let mut changed = seen(changed, &probe, located);
        if self.kernel.marks_early() {
            changed.changes |= difference(&old, &probe.attrs);
            if changed.changes & DATA != 0 {
                changed.unsure = MODE | XATTR;
            }
        }
        let at_rest = probe.busy == 0 && !(self.kernel.marks_early() && may_stay_silent(&probe.attrs, clock))
            || probe.attrs.nlink == 0;
        let place = changed.now.clone();
        self.tell_child(changed, wake);
        if !at_rest {
            let most = if probe.busy == BUSY_SHARED { settle::READING_GAP } else { settle::WRITING_GAP };
            self.children.trail.again(child, unsettled, now, most);
        } else if let Some(pause) = self.volatile.filter(|_| probe.mapped > 0 && !place.is_empty()) {
            let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
            self.children.trail.rest(child, settle::STORED, now.saturating_add(pause));
        } else {
            return self.end_child(child, entered, now);
        }
        if let Some(view) = self.children.pool.get(child) {
            view.set_attrs(0, &probe.attrs);
        }
        self.children.known.insert(child, place);
    }

    /// Whether the inode that has left memory had no link, or was never a file: the kernel makes one of nothing, with no
    /// permission at all, for who asks for a file that is gone (btrfs).
    fn is_removed(&mut self, inode: u64, key: Key, generation: u32) -> bool {
        let remains = self.kernel.remains(inode).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot look at what is left of an inode");
            None
        });
        remains.is_some_and(|probe| {
            is_same(&probe, key, generation) && (probe.attrs.nlink == 0 || probe.attrs.mode == libc::S_IFREG)
        })
    }

    /// Nothing is to be told of a child any more, unless it has just been marked.
    fn end_child(&mut self, child: u32, key: Key, now: u64) {
        if let Err(error) = self.kernel.forget_child(key, child) {
            tracing::error!(%error, "cannot take an inode out of the index of those that have changed");
        }
        self.children.known.remove(&child);
        // Who finds it in the index no more repeats the mark; who did before has marked it by now, or is seen here.
        let word = self.children.pool.get(child).map(|view| view.take()).unwrap_or_default();
        if word.is_clean() {
            self.children.pool.give_up(child, Instant::now());
        } else {
            self.children.trail.note(child, word.changes() & ALL, word.originator(), now);
        }
    }

    /// A step of what is due.
    pub(in crate::hub) fn tick_children(&mut self, step: usize, wake: &mut Vec<ClientIndex>) {
        let now = self.kernel.coarse_now();
        for _ in 0..step {
            let Some((child, unsettled)) = self.children.trail.pop_due(now) else { break };
            self.settle_child(child, unsettled, now, wake);
        }
        let rested = Instant::now();
        while let Some(child) = self.children.pool.pop_rested(rested) {
            if let Err(error) = self.kernel.free_child(child) {
                tracing::error!(%error, "cannot give a child back to the pool");
            }
        }
    }

    /// By the kernel's coarse clock.
    pub(in crate::hub) fn next_child(&self) -> Option<u64> {
        self.children.trail.next_due()
    }

    pub(in crate::hub) fn next_rested(&self) -> Option<Instant> {
        self.children.pool.next_rested()
    }

    /// Takes what is pending of a step of children, and tells what is under way so far; where to go on.
    pub(super) fn catch_up_children(&mut self, from: u32, wake: &mut Vec<ClientIndex>) -> Option<u32> {
        let len = self.children.pool.len();
        let end = len.min(from.saturating_add(super::super::STEP as u32));
        let now = self.kernel.coarse_now();
        for child in from..end {
            self.take_child(child, wake);
            if let Some(unsettled) = self.children.trail.remove(child) {
                self.settle_child(child, unsettled, now, wake);
            }
        }
        self.look_for_rescan(wake);
        (end < len).then_some(end)
    }
}

/// Whether it is the inode. A new one may get its generation, or its number (XFS), only after its first mark.
fn is_same(probe: &Probe, key: Key, generation: u32) -> bool {
    let numbered = key.ino != 0 || probe.key.dev != key.dev;
    (probe.key == key || !numbered) && (probe.generation == generation || generation == 0)
}

/// What the inode itself says.
fn seen(changed: Changed, probe: &Probe, located: Vec<Located>) -> Changed {
    let volatile = if probe.mapped == 0 { VOLATILE } else { 0 };
    let trusted = probe.faithful != 0 && probe.mapped == 0;
    Changed {
        changes: changed.changes & !volatile,
        originator: alone(changed.originator, probe),
        attrs: trusted.then_some(probe.attrs),
        directory: probe.attrs.mode & libc::S_IFMT == libc::S_IFDIR,
        links: probe.attrs.mode & libc::S_IFMT != libc::S_IFDIR && probe.attrs.nlink > 1,
        now: located.into_iter().flat_map(|place| place.below).collect(),
        ..changed
    }
}
