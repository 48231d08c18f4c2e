//! Clients begin, disconnect, come back and end.

use std::{collections::BTreeSet, time::Instant};

use super::{
    ClientId, Connection, Effect, Identity, InodeId, OpenId, Refusal, Table, claims::Claims, open::Claim,
    schedule::Due, table::Client,
};

impl Table {
    /// A client begins, or comes back: an identity belongs to the user that first used it. Another connection of the
    /// same client is taken over from. What it had waits to be reclaimed, and recalls of it are sent again.
    ///
    /// # Errors
    /// `IdentityInUse`, `TooManyClients`.
    pub fn begin(
        &mut self,
        identity: Identity,
        uid: u32,
        name: &str,
        connection: Connection,
        now: Instant,
    ) -> Result<ClientId, Refusal> {
        self.expire(now);
        if let Some(&known) = self.identities.get(&identity) {
            self.take_over(known, uid, now)?;
        }
        // The client may have ended with its earlier connection.
        if let Some(&known) = self.identities.get(&identity)
            && let Some(client) = self.clients.get_mut(&known)
        {
            client.connection = Some(connection);
            name.clone_into(&mut client.name);
            self.repeat_recalls(known);
            return Ok(known);
        }
        if self.clients.len() >= self.settings.limits.clients {
            return Err(Refusal::TooManyClients);
        }
        let id = ClientId(self.number());
        self.identities.insert(identity, id);
        let client = Client {
            identity,
            uid,
            name: name.to_owned(),
            connection: Some(connection),
            opens: BTreeSet::new(),
            leases: 0,
            locks: 0,
            claims: Claims::default(),
            asks: 0,
            waiting: BTreeSet::new(),
            blocked: BTreeSet::new(),
            backoff: BTreeSet::new(),
        };
        self.clients.insert(id, client);
        Ok(id)
    }

    fn take_over(&mut self, client: ClientId, uid: u32, now: Instant) -> Result<(), Refusal> {
        let Some(known) = self.clients.get(&client) else { return Ok(()) };
        if known.uid != uid {
            return Err(Refusal::IdentityInUse);
        }
        if let Some(connection) = known.connection {
            self.effects.push(Effect::Disconnect { connection });
            self.disconnect(client, connection, now);
        }
        Ok(())
    }

    /// A connection is over. Unless another has taken over, the client's requests are, too; what it holds is kept for
    /// the grace period.
    pub fn disconnect(&mut self, client: ClientId, connection: Connection, now: Instant) {
        self.expire(now);
        let Some(found) = self.clients.get_mut(&client).filter(|it| it.connection == Some(connection)) else {
            return;
        };
        found.connection = None;
        found.claims = Claims::default();
        let opens = found.opens.clone();
        let mut touched = BTreeSet::new();
        for request in found.waiting.clone() {
            touched.extend(self.abandon(request, Refusal::Cancelled));
        }
        for open in opens {
            // What is awaited from an earlier connection does not get more time.
            if let Some(found) = self.opens.get_mut(&open)
                && found.claim != Claim::Awaited
            {
                found.claim = Claim::Awaited;
                self.schedule.set(Due::Claim(open), now + self.settings.grace);
            }
        }
        touched.into_iter().for_each(|inode| self.settle(inode, now));
        self.end_if_gone(client);
    }

    /// The client has reclaimed all that it still has: opens, leases and locks that it has not are released.
    ///
    /// # Errors
    /// `NotBegun`.
    pub fn reclaimed(&mut self, client: ClientId, now: Instant) -> Result<(), Refusal> {
        self.expire(now);
        for id in self.connected(client)?.opens.clone() {
            match self.opens.get(&id).map(|open| open.claim) {
                Some(Claim::Awaited) => self.lapse(id, now),
                Some(Claim::Reclaimed) => {
                    self.drop_unclaimed_locks(id, now);
                    self.drop_unclaimed(id, now);
                }
                Some(Claim::Fresh) | None => {}
            }
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.claims = Claims::default();
        }
        Ok(())
    }

    /// An open that its client has not reclaimed in time, or does not want any more.
    pub(super) fn lapse(&mut self, id: OpenId, now: Instant) {
        if let Some(open) = self.opens.get(&id) {
            let (client, inode) = (self.who(open.client), open.inode);
            self.effects.push(Effect::Lapsed { client, open: id, inode });
        }
        self.close_open(id, now);
    }

    fn drop_unclaimed(&mut self, id: OpenId, now: Instant) {
        let Some(open) = self.opens.get_mut(&id) else { return };
        // From here on it is like any other.
        open.claim = Claim::Fresh;
        let unclaimed = open.grants.beyond(open.claimed);
        if unclaimed.total() == 0 {
            return;
        }
        open.grants.subtract(unclaimed);
        let (inode, holder) = (open.inode, open.holder());
        if let Some(holding) = self.holding_mut(inode, holder) {
            holding.lease.grants.subtract(unclaimed);
        }
        self.count_given_up(inode, holder.client, unclaimed);
        self.lease_weakened(inode, holder);
        self.settle(inode, now);
    }

    pub(super) fn end_backoff(&mut self, inode: InodeId, client: ClientId, now: Instant) {
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.backoff.remove(&client);
        }
        if let Some(found) = self.clients.get_mut(&client) {
            found.backoff.remove(&inode);
        }
        self.settle(inode, now);
        self.end_if_gone(client);
    }

    /// A client that is not connected ends with the last of what is kept for it.
    pub(super) fn end_if_gone(&mut self, client: ClientId) {
        let gone = |it: &&Client| it.connection.is_none() && it.opens.is_empty() && it.backoff.is_empty();
        if let Some(identity) = self.clients.get(&client).filter(gone).map(|it| it.identity) {
            self.clients.remove(&client);
            self.identities.remove(&identity);
        }
    }
}
