//! The table itself, and what all its parts use.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Instant,
};

use super::{
    AskId, ClientId, Connection, Effect, Holder, Identity, InodeId, OpenId, Owner, Refusal, RequestId,
    Settings, Who,
    claims::Claims,
    inode::{Holding, Inode},
    open::Open,
    request::Request,
    schedule::{Due, Schedule},
};

/// So much work is done in one call, about: the rest is due at once.
pub(super) const STEP: u64 = 1024;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) identity: Identity,
    pub(super) uid: u32,
    pub(super) name: String,
    pub(super) connection: Option<Connection>,
    /// By the connection over which they were made, or reclaimed last.
    pub(super) opens: BTreeSet<(Connection, OpenId)>,
    /// Grants of leases.
    pub(super) leases: usize,
    pub(super) locks: usize,
    /// While it reclaims: those of its opens that it has reclaimed.
    pub(super) reclaimed: BTreeSet<OpenId>,
    /// While it reclaims.
    pub(super) claims: Claims,
    /// Locks that the kernel is asked for.
    pub(super) asks: usize,
    pub(super) waiting: BTreeSet<RequestId>,
    /// Those of them for locks that wait in the table, by the number of the owner.
    pub(super) blocked: BTreeSet<(u64, RequestId)>,
    /// Where it gets no lease for now.
    pub(super) backoff: BTreeSet<InodeId>,
}

/// All state that is held for clients. See the module.
#[derive(Debug)]
pub struct Table {
    pub(super) settings: Settings,
    /// Until then, only reclaims.
    pub(super) reclaim_until: Option<Instant>,
    /// The last number given out, of any sort.
    numbers: u64,
    /// Requests tried, opens closed, locks ended and the like, so far.
    pub(super) work: u64,
    pub(super) clients: BTreeMap<ClientId, Client>,
    pub(super) identities: HashMap<Identity, ClientId>,
    pub(super) opens: HashMap<OpenId, Open>,
    pub(super) inodes: HashMap<InodeId, Inode>,
    pub(super) requests: HashMap<RequestId, Request>,
    /// Of what, and for ranges whose.
    pub(super) asks: HashMap<AskId, (InodeId, Option<Owner>)>,
    pub(super) schedule: Schedule,
    pub(super) effects: Vec<Effect>,
}

impl Table {
    /// Numbers given out are above `numbers`; one that an earlier daemon cannot have reached lets its numbers be known
    /// as stale. `reclaim_until`: what clients held of that daemon is not known any more, and they may reclaim it first.
    pub fn new(settings: Settings, numbers: u64, reclaim_until: Option<Instant>) -> Self {
        Self {
            settings,
            reclaim_until,
            numbers,
            work: 0,
            clients: BTreeMap::new(),
            identities: HashMap::new(),
            opens: HashMap::new(),
            inodes: HashMap::new(),
            requests: HashMap::new(),
            asks: HashMap::new(),
            schedule: Schedule::default(),
            effects: Vec::new(),
        }
    }

    /// What is to be done now, in this order. To be called after each other call.
    #[must_use]
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When [`Table::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// Revokes, closes and ends what is over by `now`; a bounded amount of it, so that the next deadline may be past.
    /// Every other call that takes the time does this first.
    pub fn expire(&mut self, now: Instant) {
        self.reclaim_until = self.reclaim_until.filter(|until| *until > now);
        let most = self.work + STEP;
        while self.work < most {
            let Some((at, due)) = self.schedule.pop(now) else { return };
            self.work += 1;
            match due {
                Due::Recall(inode, holder) => self.revoke(inode, holder, now),
                Due::Claim(client, connection) => self.lapse_first(client, connection, at, now),
                Due::Reclaimed(client) => self.drop_first_unclaimed(client, now),
                Due::Backoff(inode, client) => self.end_backoff(inode, client, now),
                Due::Contention(inode, owner) => self.contention_over(inode, owner, now),
                Due::Settle(inode) => self.settle(inode, now),
            }
        }
    }

    /// Whether only reclaims are accepted.
    pub(super) fn in_grace(&self) -> bool {
        self.reclaim_until.is_some()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn inode(&self, inode: InodeId) -> Option<&Inode> {
        self.inodes.get(&inode)
    }

    pub(super) fn holding_mut(&mut self, inode: InodeId, holder: Holder) -> Option<&mut Holding> {
        self.inodes.get_mut(&inode)?.holders.get_mut(&holder)
    }

    /// An open of that client, which is connected.
    pub(super) fn open_of(&self, client: ClientId, open: OpenId) -> Result<&Open, Refusal> {
        self.connected(client)?;
        self.opens.get(&open).filter(|found| found.client == client).ok_or(Refusal::NotOpen)
    }

    pub(super) fn connected(&self, client: ClientId) -> Result<&Client, Refusal> {
        self.clients.get(&client).filter(|found| found.connection.is_some()).ok_or(Refusal::NotBegun)
    }

    pub(super) fn who(&self, client: ClientId) -> Who {
        self.clients.get(&client).map_or(Who::Unknown, |client| Who::Client(client.name.clone()))
    }

    pub(super) fn is_connected(&self, client: ClientId) -> bool {
        self.connected(client).is_ok()
    }

    /// The owner has no lock left on the inode, nor is one asked for.
    pub(super) fn forget_owner(&mut self, inode: InodeId, owner: Owner) {
        let Some(found) = self.inodes.get(&inode) else { return };
        if !found.ranges.holds(owner) && found.asks_of(owner).next().is_none() {
            self.effects.push(Effect::ForgetOwner { inode, owner });
        }
    }
}
