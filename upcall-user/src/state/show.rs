//! The table as operators and clients see it.

use std::time::Instant;

use super::{
    Access, ClientId, Deny, InodeId, LeaseId, LeaseKind, LockKind, OpenId, Range, Table, open::Open,
};

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub clients: usize,
    pub inodes: usize,
    pub opens: usize,
    /// Grants.
    pub leases: usize,
    pub recalls: usize,
    pub locks: usize,
    /// Requests that are not answered.
    pub waiting: usize,
    /// Asks that the kernel has not answered.
    pub asks: usize,
}

#[derive(Clone, Debug)]
pub struct ShownInode {
    pub inode: InodeId,
    pub opens: Vec<ShownOpen>,
    pub leases: Vec<ShownLease>,
    pub locks: Vec<ShownLock>,
    pub waiting: usize,
}

#[derive(Clone, Debug)]
pub struct ShownOpen {
    pub open: OpenId,
    pub client: ClientId,
    pub access: Access,
    pub deny: Deny,
    pub lease_id: LeaseId,
    /// The kernel does not hold local processes to the deny mode.
    pub advisory: bool,
    /// When what it carries is revoked, while that is recalled.
    pub recalled_until: Option<Instant>,
}

/// What an open carries.
#[derive(Clone, Debug)]
pub struct ShownLease {
    pub open: OpenId,
    pub client: ClientId,
    pub kind: LeaseKind,
    pub grants: usize,
    pub advisory: bool,
    pub recalled: bool,
}

#[derive(Clone, Debug)]
pub struct ShownLock {
    pub open: OpenId,
    pub client: ClientId,
    pub owner: u64,
    pub kind: LockKind,
    pub range: Range,
    pub advisory: bool,
}

impl Table {
    pub fn census(&self) -> Census {
        let inodes = self.inodes.values();
        Census {
            clients: self.clients.len(),
            inodes: self.inodes.len(),
            opens: self.opens.len(),
            leases: self.clients.values().map(|client| client.leases).sum(),
            recalls: inodes.map(|inode| inode.recalled.len()).sum(),
            locks: self.clients.values().map(|client| client.locks).sum(),
            waiting: self.requests.len(),
            asks: self.asks.len(),
        }
    }

    /// The inodes of which something is held, in no order.
    pub fn inodes(&self) -> impl Iterator<Item = InodeId> {
        self.inodes.keys().copied()
    }

    /// Whether anything is held or asked of it.
    pub fn knows(&self, inode: InodeId) -> bool {
        self.inodes.contains_key(&inode)
    }

    /// What a client's open is of.
    pub fn inode_of(&self, client: ClientId, open: OpenId) -> Option<InodeId> {
        self.open_of(client, open).ok().map(|open| open.inode)
    }

    /// The export that a client's open was found in.
    pub fn export_of(&self, client: ClientId, open: OpenId) -> Option<usize> {
        self.open_of(client, open).ok().map(|open| open.export)
    }

    /// What an open is of.
    pub fn inode_of_open(&self, open: OpenId) -> Option<InodeId> {
        self.opens.get(&open).map(|open| open.inode)
    }

    /// The name a client gave itself, and whether it is connected.
    pub fn client(&self, client: ClientId) -> Option<(&str, bool)> {
        self.clients.get(&client).map(|found| (found.name.as_str(), found.connection.is_some()))
    }

    /// What is held of an inode; of one client's alone, if so asked.
    pub fn show(&self, inode: InodeId, only: Option<ClientId>) -> Option<ShownInode> {
        let found = self.inode(inode)?;
        let shown = |client: ClientId| only.is_none_or(|only| only == client);
        let ids =
            found.holders.iter().filter(|(holder, _)| shown(holder.client)).flat_map(|(_, it)| &it.opens);
        let opens: Vec<(OpenId, &Open)> =
            ids.filter_map(|id| self.opens.get(id).map(|open| (*id, open))).collect();
        let leases = opens.iter().flat_map(|&(open, it)| {
            let recalled = found.recalled.contains(&it.holder());
            [LeaseKind::Read, LeaseKind::Write].into_iter().filter_map(move |kind| {
                let (client, grants) = (it.client, it.grants.of(kind));
                let advisory = found.lease.held < Some(kind);
                (grants > 0).then_some(ShownLease { open, client, kind, grants, advisory, recalled })
            })
        });
        let locks = found.ranges.iter().filter(|lock| shown(lock.owner.client)).map(|lock| ShownLock {
            open: lock.open,
            client: lock.owner.client,
            owner: lock.owner.number,
            kind: lock.kind,
            range: lock.range,
            advisory: lock.advisory,
        });
        let waiting = found.requests();
        let leases = leases.collect();
        let locks = locks.collect();
        let opens = opens.into_iter().map(|(open, it)| ShownOpen {
            open,
            client: it.client,
            access: it.access,
            deny: it.deny,
            lease_id: it.lease_id,
            recalled_until: found.lease(it.holder()).recall.map(|recall| recall.deadline),
            advisory: !found.deny.held.contains(it.deny),
        });
        Some(ShownInode { inode, opens: opens.collect(), leases, locks, waiting })
    }
}
