//! The registry's part in what waits for a client: its interests with pending changes, in the order of their turns.

use upcall_common::change::{ENTRIES, EXPIRED};

use super::{ClientIndex, Dropped, Provenance, Registry};
use crate::hub::names::Names;

/// An upcall to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub interest: u64,
    pub slot: u32,
    pub cookie: u64,
    pub changes: u32,
    pub version: u64,
    pub ended: bool,
    pub names: Names,
    pub provenance: Option<Provenance>,
}

impl Registry {
    /// Ends one interest because its lifetime is over. Whether its client has to be woken.
    pub fn expire(&mut self, interest: u64) -> Option<ClientIndex> {
        let (index, found) = self.interests.find(interest)?;
        if found.ended() {
            return None;
        }
        let client = self.clients.get_mut(found.client())?;
        let wake = client.queue.is_empty();
        if found.pending == 0 {
            found.turn = client.enqueue(index);
        }
        found.pending |= EXPIRED;
        wake.then_some(found.client())
    }

    /// The last turn given out in the client's queue: what waits now has none above it.
    pub fn last_turn(&self, client: ClientIndex) -> u64 {
        self.clients.get(client).map_or(0, |client| client.turns)
    }

    /// Takes up to `max` upcalls that wait for the client, with turns up to `last`. Interests that have ended
    /// go with it and are added to `dropped`.
    pub fn take(
        &mut self,
        client: ClientIndex,
        max: usize,
        last: u64,
        dropped: &mut Vec<Dropped>,
    ) -> Vec<Pending> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(owner) = self.clients.get_mut(client) else { break };
            let Some(next) = owner.queue.first_entry().filter(|next| *next.key() <= last) else { break };
            let index = next.remove();
            let Some(interest) = self.interests.get_mut(index) else { continue };
            let named = interest.pending & ENTRIES != 0;
            let names = named.then(|| self.names.get_mut(&index)).flatten();
            let names = names.map_or_else(Names::default, |names| names.take(&mut owner.waiting_bytes));
            let ended = interest.ended();
            let provenance = owner.provenance.as_mut().and_then(|of| of.remove(&index));
            taken.push(Pending {
                interest: interest.id(index),
                slot: interest.slot,
                cookie: interest.wish.cookie,
                changes: std::mem::take(&mut interest.pending),
                version: interest.version,
                ended,
                names,
                provenance,
            });
            let marks = std::mem::take(&mut interest.pending_marks);
            // A take that found no new version carries no mark of its own: it was counted before.
            if marks > 0 {
                owner.account.delivered += 1;
                owner.account.coalesced += marks - 1;
            } else {
                owner.account.repeated += 1;
            }
            if ended {
                dropped.extend(self.drop_interest(index));
            }
        }
        taken
    }

    pub fn pending_of(&self, client: ClientIndex) -> usize {
        self.clients.get(client).map_or(0, |client| client.queue.len())
    }
}
