//! The table as operators and clients see it.

use std::time::Instant;

use super::{
    Access, ChangeRequest, ClientId, Deny, Holder, InodeId, Keep, LeaseId, LeaseKind, LeaseRequest, LockKind,
    LockRequest, OpenId, OpenRequest, Range, Table, Who, open::Open, request::What, schedule::Due,
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
    pub waiting: Vec<ShownRequest>,
}

#[derive(Clone, Copy, Debug)]
pub struct ShownClient<'a> {
    /// That it gave itself.
    pub name: &'a str,
    pub uid: u32,
    pub connected: bool,
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
    pub since: Instant,
    /// When it ends, unless its client reclaims it.
    pub lapses: Option<Instant>,
    pub recall: Option<ShownRecall>,
}

/// Of the lease that an open carries.
#[derive(Clone, Debug)]
pub struct ShownRecall {
    pub deadline: Instant,
    pub keep: Keep,
    pub who: Who,
}

/// What an open carries.
#[derive(Clone, Debug)]
pub struct ShownLease {
    pub open: OpenId,
    pub client: ClientId,
    pub kind: LeaseKind,
    pub grants: usize,
    pub advisory: bool,
    pub since: Instant,
}

#[derive(Clone, Debug)]
pub struct ShownLock {
    pub open: OpenId,
    pub client: ClientId,
    pub owner: u64,
    pub kind: LockKind,
    pub range: Range,
    pub advisory: bool,
    pub since: Instant,
}

/// One that waits.
#[derive(Clone, Debug)]
pub struct ShownRequest {
    pub client: ClientId,
    pub wish: Wish,
    pub since: Instant,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Open { access: Access, deny: Deny },
    Lease { kind: LeaseKind },
    Lock { owner: u64, kind: LockKind, range: Range },
}

impl From<What> for Wish {
    fn from(what: What) -> Self {
        match what {
            What::Open(OpenRequest { access, deny, .. })
            | What::Change(ChangeRequest { access, deny, .. }) => Self::Open { access, deny },
            What::Lease(LeaseRequest { kind, .. }) => Self::Lease { kind },
            What::Lock(LockRequest { owner, kind, range, .. }) => Self::Lock { owner, kind, range },
        }
    }
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

    /// Whether a client has the inode open for writing.
    pub fn writes(&self, client: ClientId, inode: InodeId) -> bool {
        let first = Holder { client, lease_id: LeaseId([0; 16]) };
        let holders = self.inode(inode).into_iter().flat_map(|found| found.holders.range(first..));
        holders.take_while(|(holder, _)| holder.client == client).any(|(_, held)| held.tally.writers > 0)
    }

    pub fn client(&self, client: ClientId) -> Option<ShownClient<'_>> {
        let found = self.clients.get(&client)?;
        Some(ShownClient { name: &found.name, uid: found.uid, connected: found.connection.is_some() })
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
            [LeaseKind::Read, LeaseKind::Write].into_iter().filter_map(move |kind| {
                let (client, grants) = (it.client, it.grants.of(kind));
                let advisory = found.lease.held < Some(kind);
                let since = it.leased;
                (grants > 0).then_some(ShownLease { open, client, kind, grants, advisory, since })
            })
        });
        let locks = found.ranges.iter().filter(|lock| shown(lock.owner.client)).map(|lock| ShownLock {
            open: lock.open,
            client: lock.owner.client,
            owner: lock.owner.number,
            kind: lock.kind,
            range: lock.range,
            advisory: lock.advisory,
            since: lock.since,
        });
        let asked = found.asks.values().filter_map(|ask| ask.request.as_ref());
        let waiting = found.waiting.iter().chain(&found.blocked).chain(asked);
        let waiting = waiting.filter_map(|id| self.requests.get(id)).filter(|it| shown(it.client));
        let waiting = waiting
            .map(|it| ShownRequest { client: it.client, wish: it.what.into(), since: it.since })
            .collect();
        let leases = leases.collect();
        let locks = locks.collect();
        let opens = opens.into_iter().map(|(open, it)| ShownOpen {
            open,
            client: it.client,
            access: it.access,
            deny: it.deny,
            lease_id: it.lease_id,
            since: it.since,
            lapses: self.schedule.at(Due::Claim(it.client, it.connection)),
            recall: found
                .lease(it.holder())
                .and_then(|lease| lease.recall.as_ref())
                .filter(|_| it.grants.total() > 0)
                .map(|recall| ShownRecall {
                    deadline: recall.deadline,
                    keep: recall.keep,
                    who: recall.who.clone(),
                }),
            advisory: !found.deny.held.contains(it.deny),
        });
        Some(ShownInode { inode, opens: opens.collect(), leases, locks, waiting })
    }
}
