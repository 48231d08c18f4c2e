//! Clients begin, disconnect, come back and end.

use std::{collections::BTreeSet, ops::Bound, time::Instant};

use super::{
    ClientId, Connection, Effect, Identity, InodeId, OpenId, Refusal, Table, claims::Claims, open::Claim,
    schedule::Due, table::Client,
};

impl Table {
    /// A client begins, or comes back: an identity belongs to the user that first used it. Another connection of the
    /// same client is taken over from. What it had waits to be reclaimed.
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
            reclaimed: BTreeSet::new(),
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
        found.reclaimed.clear();
        found.claims = Claims::default();
        self.schedule.remove(Due::Reclaimed(client));
        // What is awaited from an earlier connection does not get more time.
        if found.first_of(connection).is_some() {
            self.schedule.set(Due::Claim(client, connection), now + self.settings.grace);
        }
        for request in found.waiting.clone() {
            self.work += 1;
            if let Some(inode) = self.abandon(request, Refusal::Cancelled) {
                self.schedule.set(Due::Settle(inode), now);
            }
        }
        self.end_if_gone(client);
        self.expire(now);
    }

    /// The client has reclaimed all that it still has: opens, leases and locks that it has not are released; where they
    /// are many, not all of them in this call.
    ///
    /// # Errors
    /// `NotBegun`.
    pub fn reclaimed(&mut self, client: ClientId, now: Instant) -> Result<(), Refusal> {
        self.expire(now);
        self.connected(client)?;
        self.schedule.set(Due::Reclaimed(client), now);
        self.expire(now);
        Ok(())
    }

    /// The first of the opens that the client has not reclaimed in time.
    pub(super) fn lapse_first(
        &mut self,
        client: ClientId,
        connection: Connection,
        at: Instant,
        now: Instant,
    ) {
        let first = self.clients.get(&client).and_then(|it| it.first_of(connection));
        if let Some(open) = first {
            // As long as there are more, before whatever is due later; with the last one it goes.
            self.schedule.set(Due::Claim(client, connection), at);
            self.lapse(open, now);
        }
    }

    fn lapse(&mut self, id: OpenId, now: Instant) {
        let Some(open) = self.opens.get(&id) else { return };
        let (client, inode) = (self.who(open.client), open.inode);
        self.effects.push(Effect::Lapsed { client, open: id, inode });
        self.close_open(id);
        self.schedule.set(Due::Settle(inode), now);
    }

    /// Of a client that has reclaimed all, one open that it has not, or what it has not claimed of one that it has.
    pub(super) fn drop_first_unclaimed(&mut self, client: ClientId, now: Instant) {
        let Some(found) = self.clients.get_mut(&client) else { return };
        let (awaited, reclaimed) = (found.first_awaited(), found.reclaimed.first().copied());
        match (awaited, reclaimed) {
            (Some(open), _) => self.lapse(open, now),
            (None, Some(open)) => self.drop_unclaimed(open, now),
            (None, None) => return found.claims = Claims::default(),
        }
        self.schedule.set(Due::Reclaimed(client), now);
    }

    fn drop_unclaimed(&mut self, id: OpenId, now: Instant) {
        self.drop_unclaimed_locks(id);
        let Some(open) = self.opens.get_mut(&id) else { return };
        self.schedule.set(Due::Settle(open.inode), now);
        // From here on it is like any other.
        if let Some(client) = self.clients.get_mut(&open.client) {
            client.reclaimed.remove(&id);
        }
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
    }

    pub(super) fn end_backoff(&mut self, inode: InodeId, client: ClientId, now: Instant) {
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.backoff.remove(&client);
        }
        if let Some(found) = self.clients.get_mut(&client) {
            found.backoff.remove(&inode);
        }
        self.schedule.set(Due::Settle(inode), now);
        self.end_if_gone(client);
    }

    /// Whether its client still wants an open.
    pub(super) fn claim(&self, id: OpenId) -> Claim {
        let open = self.opens.get(&id);
        match open.and_then(|open| Some((self.clients.get(&open.client)?, open.connection))) {
            Some((client, connection)) if client.connection != Some(connection) => Claim::Awaited,
            Some((client, _)) if client.reclaimed.contains(&id) => Claim::Reclaimed,
            _ => Claim::Fresh,
        }
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

impl Client {
    /// Of its opens that were made, or reclaimed last, over that connection.
    pub(super) fn first_of(&self, connection: Connection) -> Option<OpenId> {
        let all = (connection, OpenId(0))..=(connection, OpenId(u64::MAX));
        self.opens.range(all).next().map(|(_, open)| *open)
    }

    /// Of its opens of earlier connections.
    fn first_awaited(&self) -> Option<OpenId> {
        let current = |(by, _): &&(Connection, OpenId)| self.connection == Some(*by);
        let beyond = self.connection.map(|by| (Bound::Excluded((by, OpenId(u64::MAX))), Bound::Unbounded));
        let first = self.opens.first().filter(|open| !current(open));
        first.or_else(|| self.opens.range(beyond?).next()).map(|(_, open)| *open)
    }
}
