//! Carries out what the table says, in its order.

use std::time::Instant;

use upcall_common::wire::{self, StateUpcall};

use super::{convert::ms, run::Task};
use crate::{
    events::{StateOp, What},
    state::{Effect, InodeId, Who},
};

impl Task {
    /// Until the table has nothing more to say.
    pub(super) fn carry_out(&mut self) {
        loop {
            let effects = self.table.take_effects();
            if effects.is_empty() {
                return;
            }
            effects.into_iter().for_each(|effect| self.effect(effect));
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Answer { client, request, answer } => {
                let subject = self.clients.subject(request);
                self.concluded(client, subject.as_ref(), &answer);
                let kept = self.clients.end(request, &answer);
                self.keep(kept);
            }
            Effect::Recall { client, open, cookie, lease_id, held, keep, deadline, who } => {
                let left = deadline.saturating_duration_since(Instant::now());
                let what = What::Lease { kind: wire::LeaseKind::from(held).as_str() };
                self.befell((StateOp::Recall, client, open), what, who.clone(), Some(left));
                let recall = wire::Recall {
                    open: open.0,
                    cookie,
                    lease_id: wire::LeaseId(lease_id.0),
                    held: held.into(),
                    keep: keep.into(),
                    deadline_ms: ms(left),
                    who: who.into(),
                };
                self.clients.tell(client, StateUpcall::Recall(recall));
            }
            Effect::Revoked { client, open, cookie, lease_id, kind } => {
                let what = What::Lease { kind: wire::LeaseKind::from(kind).as_str() };
                self.befell((StateOp::Revoke, client, open), what, Who::Unknown, None);
                let lease_id = wire::LeaseId(lease_id.0);
                let revoked = wire::Revoked { open: open.0, cookie, lease_id, kind: kind.into() };
                self.clients.tell(client, StateUpcall::Revoked(revoked));
            }
            Effect::Contention { client, open, cookie, owner, range, who } => {
                let (start, length) = (range.start(), range.length());
                let what = What::Lock { owner, kind: None, start, length };
                self.befell((StateOp::Contention, client, open), what, who.clone(), None);
                let open = open.0;
                let contention = wire::Contention { open, cookie, owner, start, length, who: who.into() };
                self.clients.tell(client, StateUpcall::Contention(contention));
            }
            Effect::Disconnect { connection } => {
                if let Some((_, link)) = self.clients.remove(connection) {
                    link.end();
                }
            }
            Effect::Lapsed { client, open, inode } => {
                self.let_go(Some(inode));
                self.lapsed(client, open, inode);
            }
            Effect::AskLease { ask, inode, kind, open } => self.ask_lease(ask, inode, kind, open),
            Effect::SetLease { inode, kind } => self.set_lease(inode, kind),
            Effect::AskDeny { ask, inode, deny, client } => self.ask_deny(ask, inode, deny, client),
            Effect::SetDeny { inode, deny } => self.set_deny(inode, deny),
            Effect::AskRange { ask, inode, owner, range, kind, wait } => {
                self.ask_range(ask, inode, owner, range, (kind.into(), wait));
            }
            Effect::CancelRange { ask } => self.cancel_range(ask),
            Effect::SetRange { inode, owner, range, kind } => {
                self.set_range(inode, owner, range, kind.map(Into::into));
            }
            Effect::ForgetOwner { inode, owner } => {
                if let Some(file) = self.files.get_mut(inode) {
                    file.owners.remove(&owner);
                }
            }
            // It may have been opened again by the very call that ended what was held of it.
            Effect::Forget { inode } if self.table.knows(inode) => {}
            Effect::Forget { inode } => self.forget(inode),
        }
    }

    /// Nothing is left of a file.
    pub(super) fn forget(&mut self, inode: InodeId) {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::keeps_file() {
            return;
        }
        self.set_lease(inode, None);
        if let Some(file) = self.files.remove(inode) {
            if let Some(outside) = &self.outside {
                outside.leave(&file);
            }
            // To close a file that has no name any more frees all of it.
            tokio::task::spawn_blocking(move || drop(file));
        }
    }
}
