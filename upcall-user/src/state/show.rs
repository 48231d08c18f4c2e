//! The table as operators and clients see it.

use std::{
    ops::Bound::{Excluded, Included, Unbounded},
    time::Instant,
};

use super::{
    Access, ChangeRequest, ClientId, Deny, Holder, InodeId, Keep, LeaseId, LeaseKind, LeaseRequest, LockKind,
    LockRequest, OpenId, OpenRequest, Owner, Range, RequestId, Table, Who, inode::Inode, open::Open,
    ranges::Lock, request::What, schedule::Due,
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

/// Something of an inode, in the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Open(Holder, OpenId),
    /// By where it starts.
    Lock(Owner, u64),
    Request(RequestId),
}

#[derive(Clone, Debug)]
pub enum Shown {
    Open(ShownOpen),
    Lock(ShownLock),
    Request(ShownRequest),
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
    pub lease: Option<ShownLease>,
}

#[derive(Clone, Debug)]
pub struct ShownRecall {
    pub deadline: Instant,
    pub keep: Keep,
    pub who: Who,
}

/// What an open carries.
#[derive(Clone, Debug)]
pub struct ShownLease {
    /// Grants.
    pub reads: usize,
    pub writes: usize,
    /// The kernel does not hold local processes to all of it.
    pub advisory: bool,
    pub since: Instant,
    pub recall: Option<ShownRecall>,
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

    /// What is held of an inode, and who waits; beyond a place, and one client's alone, if so asked.
    pub fn show(
        &self,
        inode: InodeId,
        only: Option<ClientId>,
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, Shown)> {
        let (least, most) = only.map_or((ClientId(0), ClientId(u64::MAX)), |client| (client, client));
        self.inode(inode).into_iter().flat_map(move |found| {
            let opens = self.opens_of(found, (least, most), after);
            let locks = locks_of(found, (least, most), after);
            opens.chain(locks).chain(self.requests_of(found, only, after))
        })
    }

    fn opens_of<'a>(
        &'a self,
        inode: &'a Inode,
        (least, most): (ClientId, ClientId),
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, Shown)> + 'a {
        let first = Holder { client: least, lease_id: LeaseId([0; 16]) };
        let last = Holder { client: most, lease_id: LeaseId([u8::MAX; 16]) };
        let from = match after {
            None => Some((first, Unbounded)),
            Some(Place::Open(holder, open)) => Some((holder, Excluded(open))),
            Some(_) => None,
        };
        from.into_iter().flat_map(move |(first, beyond)| {
            inode.holders.range(first..=last).flat_map(move |(holder, holding)| {
                let beyond = if *holder == first { beyond } else { Unbounded };
                holding.opens.range((beyond, Unbounded)).filter_map(|id| {
                    let open = self.opens.get(id)?;
                    Some((Place::Open(*holder, *id), Shown::Open(self.show_open(inode, *id, open))))
                })
            })
        })
    }

    fn show_open(&self, inode: &Inode, id: OpenId, open: &Open) -> ShownOpen {
        let recall = || inode.holders.get(&open.holder()).and_then(|holding| holding.lease.recall.as_ref());
        let lease = open.grants.strongest().map(|strongest| ShownLease {
            reads: open.grants.of(LeaseKind::Read),
            writes: open.grants.of(LeaseKind::Write),
            advisory: inode.lease.held < Some(strongest),
            since: open.leased,
            recall: recall().map(|recall| ShownRecall {
                deadline: recall.deadline,
                keep: recall.keep,
                who: recall.who.clone(),
            }),
        });
        ShownOpen {
            open: id,
            client: open.client,
            access: open.access,
            deny: open.deny,
            lease_id: open.lease_id,
            advisory: !inode.deny.held.contains(open.deny),
            since: open.since,
            lapses: self.schedule.at(Due::Claim(open.client, open.connection)),
            lease,
        }
    }

    fn requests_of<'a>(
        &'a self,
        inode: &'a Inode,
        only: Option<ClientId>,
        after: Option<Place>,
    ) -> impl Iterator<Item = (Place, Shown)> + 'a {
        let asked = inode.asks.values().filter_map(|ask| ask.request.as_ref());
        let mut waiting: Vec<RequestId> =
            inode.waiting.iter().chain(&inode.blocked).chain(asked).copied().collect();
        waiting.sort_unstable();
        waiting
            .into_iter()
            .filter(move |id| after.is_none_or(|after| Place::Request(*id) > after))
            .filter_map(|id| self.requests.get(&id).map(|request| (id, request)))
            .filter(move |(_, request)| only.is_none_or(|only| only == request.client))
            .map(|(id, request)| {
                let (client, wish, since) = (request.client, request.what.into(), request.since);
                (Place::Request(id), Shown::Request(ShownRequest { client, wish, since }))
            })
    }
}

fn locks_of(
    inode: &Inode,
    (least, most): (ClientId, ClientId),
    after: Option<Place>,
) -> impl Iterator<Item = (Place, Shown)> {
    let from = match after {
        None | Some(Place::Open(..)) => Some(Included((Owner { client: least, number: 0 }, 0))),
        Some(Place::Lock(owner, start)) => Some(Excluded((owner, start))),
        Some(Place::Request(_)) => None,
    };
    let last = Owner { client: most, number: u64::MAX };
    from.into_iter().flat_map(move |from| inode.ranges.between(from, last)).map(|lock| {
        let Lock { owner, range, kind, open, advisory, since } = *lock;
        let shown =
            ShownLock { open, client: owner.client, owner: owner.number, kind, range, advisory, since };
        (Place::Lock(owner, range.start()), Shown::Lock(shown))
    })
}
