//! A kernel that does what effects say, and answers when it likes.

use std::collections::BTreeMap;

use super::super::super::*;

pub(super) struct Pending {
    pub(super) id: AskId,
    effect: Effect,
    /// What has been done already and only has to be told.
    done: Option<Kernel>,
    cancelled: bool,
}

#[derive(Default)]
pub(super) struct FakeKernel {
    pub(super) lease: BTreeMap<InodeId, LeaseKind>,
    pub(super) deny: BTreeMap<InodeId, Deny>,
    pub(super) bytes: BTreeMap<(InodeId, Owner, u64), LockKind>,
    pub(super) pending: Vec<Pending>,
}

impl FakeKernel {
    /// Carries out an effect; `says` is its answer to an ask, if it need not wait with that.
    pub(super) fn take(&mut self, effect: &Effect, says: &Kernel) {
        match effect {
            Effect::AskLease { ask, .. } | Effect::AskDeny { ask, .. } => {
                self.pending.push(Pending { id: *ask, effect: effect.clone(), done: None, cancelled: false });
                self.obtain(self.pending.len() - 1, says);
            }
            Effect::AskRange { ask, wait, .. } => {
                self.pending.push(Pending { id: *ask, effect: effect.clone(), done: None, cancelled: false });
                if !wait {
                    self.obtain(self.pending.len() - 1, says);
                }
            }
            Effect::CancelRange { ask } => {
                self.pending.iter_mut().filter(|it| it.id == *ask).for_each(|it| it.cancelled = true);
            }
            Effect::SetLease { inode, kind } => {
                assert!(self.lease.get(inode).copied() >= *kind, "strengthened without asking");
                self.lease.remove(inode);
                self.lease.extend(kind.map(|kind| (*inode, kind)));
            }
            Effect::SetDeny { inode, deny } => {
                let held = self.deny.insert(*inode, *deny).unwrap_or_default();
                assert_eq!(held.union(*deny), held, "strengthened without asking");
            }
            Effect::SetRange { inode, owner, range, kind } => {
                for at in range.start()..=range.last() {
                    if let Some(held) = self.bytes.remove(&(*inode, *owner, at)) {
                        let weaker = kind.map(|kind| ((*inode, *owner, at), kind.min(held)));
                        self.bytes.extend(weaker);
                    }
                }
            }
            Effect::ForgetOwner { inode, owner } => {
                let left = self.bytes.range((*inode, *owner, 0)..=(*inode, *owner, u64::MAX)).count();
                assert_eq!(left, 0, "an owner with locks is forgotten");
            }
            Effect::Forget { inode } => {
                assert!(!self.lease.contains_key(inode), "a leased inode is forgotten");
                assert_eq!(self.deny.remove(inode).unwrap_or_default(), Deny::None);
                assert!(self.bytes.keys().all(|(it, ..)| it != inode), "a locked inode is forgotten");
            }
            _ => {}
        }
    }

    /// The ask is carried out, or not; nobody has been told yet.
    pub(super) fn obtain(&mut self, at: usize, says: &Kernel) {
        let pending = &mut self.pending[at];
        if pending.done.is_some() {
            return;
        }
        pending.done = Some(says.clone());
        if *says != Kernel::Held {
            return;
        }
        match pending.effect {
            Effect::AskLease { inode, kind, .. } => {
                self.lease.insert(inode, kind);
            }
            Effect::AskDeny { inode, deny, .. } => {
                self.deny.insert(inode, deny);
            }
            Effect::AskRange { inode, owner, range, kind, .. } => {
                for at in range.start()..=range.last() {
                    self.bytes.insert((inode, owner, at), kind);
                }
            }
            _ => unreachable!("no ask"),
        }
    }

    /// Takes the answer to one.
    pub(super) fn answer(&mut self, at: usize, says: &Kernel) -> (AskId, Kernel) {
        if self.pending[at].cancelled && self.pending[at].done.is_none() {
            self.obtain(at, &Kernel::Cancelled);
        }
        self.obtain(at, says);
        let pending = self.pending.remove(at);
        (pending.id, pending.done.expect("just done"))
    }

    /// Whether this byte is being asked for.
    pub(super) fn is_asked(&self, inode: InodeId, owner: Owner, at: u64) -> bool {
        self.pending.iter().any(|it| match it.effect {
            Effect::AskRange { inode: of, owner: by, range, .. } => {
                of == inode && by == owner && range.start() <= at && at <= range.last()
            }
            _ => false,
        })
    }

    pub(super) fn leases_asked(&self, inode: InodeId) -> bool {
        self.pending.iter().any(|it| matches!(it.effect, Effect::AskLease { inode: of, .. } if of == inode))
    }

    pub(super) fn denies_asked(&self, inode: InodeId) -> bool {
        self.pending.iter().any(|it| matches!(it.effect, Effect::AskDeny { inode: of, .. } if of == inode))
    }
}
