//! Opens and their share reservations.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    Access, AskId, ChangeRequest, ClientId, Connection, Deny, Effect, Granted, Holder, InodeId, OpenId,
    OpenRequest, Owner, Refusal, Reply, RequestId, Table,
    inode::{Asked, Inode},
    lease::Grants,
    open::{Claim, Open},
    request::{Attempt, Request, What, refused},
    schedule::Due,
};

impl Table {
    /// Opens an inode, or reclaims an open.
    ///
    /// # Errors
    /// `NotBegun`, `Grace`, `NoReclaim`, `TooManyOpens`, `TooManyWaiting`, `Conflict`, `Recalling`, `LocalConflict`,
    /// `Unsupported`; later also `Cancelled`.
    pub fn open(&mut self, client: ClientId, request: OpenRequest, now: Instant) -> Reply {
        self.expire(now);
        match self.admit_open(client, &request) {
            Ok(None) => self.submit(client, request.inode, What::Open(request), now),
            Ok(Some(open)) => {
                self.narrow(open, &request, now);
                Reply::Now(Ok(Granted::Opened { open, advisory: self.is_advisory(open) }))
            }
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    /// What it already has, if it reclaims that.
    fn admit_open(&mut self, client: ClientId, request: &OpenRequest) -> Result<Option<OpenId>, Refusal> {
        self.connected(client)?;
        let Some(open) = request.reclaim else {
            return if self.in_grace() { Err(Refusal::Grace) } else { Ok(None) };
        };
        match self.reclaim(client, open, request) {
            None if !self.in_grace() => Err(Refusal::NoReclaim),
            reclaimed => Ok(reclaimed),
        }
    }

    /// That very open: of others that are alike, leases and locks are others. It may have more than its client knows of,
    /// where the answer to a change was lost: then it is narrowed to that, unless it needs more for what it carries.
    fn reclaim(&mut self, client: ClientId, id: OpenId, request: &OpenRequest) -> Option<OpenId> {
        let holder = Holder { client, lease_id: request.lease_id };
        let same = |open: &&mut Open| {
            (open.inode, open.holder()) == (request.inode, holder)
                && open.cookie == request.cookie
                && open.access.contains(request.access)
                && open.deny.contains(request.deny)
        };
        if self.claim(id) != Claim::Awaited {
            return None;
        }
        let open = self.opens.get_mut(&id).filter(same)?;
        let by = self.clients.get_mut(&client)?;
        open.claimed = Grants::default();
        let earlier = std::mem::replace(&mut open.connection, by.connection?);
        by.opens.remove(&(earlier, id));
        by.opens.insert((open.connection, id));
        by.reclaimed.insert(id);
        if by.first_of(earlier).is_none() {
            self.schedule.remove(Due::Claim(client, earlier));
        }
        Some(id)
    }

    fn narrow(&mut self, id: OpenId, known: &OpenRequest, now: Instant) {
        let Some(open) = self.opens.get(&id) else { return };
        if (open.access, open.deny) == (known.access, known.deny) {
            return;
        }
        let access = if self.carries_no_more(id, known.access) { known.access } else { open.access };
        self.apply_change(id, access, known.deny);
        self.settle(known.inode, now);
    }

    fn is_advisory(&self, open: OpenId) -> bool {
        let Some(open) = self.opens.get(&open) else { return false };
        self.inode(open.inode).is_some_and(|inode| !inode.deny.held.contains(open.deny))
    }

    /// Other access, another deny mode.
    ///
    /// # Errors
    /// `NotOpen`, `NotPermitted`, `Carries`, and those of [`Table::open`].
    pub fn change(&mut self, client: ClientId, request: ChangeRequest, now: Instant) -> Reply {
        self.expire(now);
        let open = match self.open_of(client, request.open) {
            Ok(open) => open,
            Err(refusal) => return Reply::Now(Err(refusal)),
        };
        if request.access.writes() && !open.writable {
            return Reply::Now(Err(Refusal::NotPermitted));
        }
        let grows = !open.access.contains(request.access) || !open.deny.contains(request.deny);
        if grows && self.in_grace() {
            return Reply::Now(Err(Refusal::Grace));
        }
        self.submit(client, open.inode, What::Change(request), now)
    }

    /// Ends an open with its leases, its deny mode, its locks and its requests.
    ///
    /// # Errors
    /// `NotOpen`.
    pub fn close(&mut self, client: ClientId, open: OpenId, now: Instant) -> Result<(), Refusal> {
        self.expire(now);
        let inode = self.open_of(client, open)?.inode;
        self.close_open(open);
        self.settle(inode, now);
        Ok(())
    }

    pub(super) fn try_open(
        &mut self,
        id: RequestId,
        request: &Request,
        open: &OpenRequest,
        fresh: bool,
        now: Instant,
    ) -> Attempt {
        let Request { client, inode, .. } = *request;
        let holder = Holder { client, lease_id: open.lease_id };
        let limits = self.settings.limits;
        let (Some(by), Some(found)) = (self.clients.get(&client), self.inodes.get(&inode)) else {
            return refused(Refusal::NotBegun);
        };
        let Some(connection) = by.connection else { return refused(Refusal::NotBegun) };
        if by.opens.len() >= limits.client.opens || found.tally.opens >= limits.inode.opens {
            return refused(Refusal::TooManyOpens);
        }
        if found.others(holder).conflicts(open.access, open.deny) {
            let other = found.other(holder, |tally| tally.conflicts(open.access, open.deny));
            return refused(self.conflict(other));
        }
        let keep = Inode::leaves(open.access);
        if let Some(other) = found.lease_in_the_way(holder, keep) {
            if open.reclaim.is_some() {
                return refused(self.conflict(Some(other)));
            }
            if fresh || found.recalled.is_empty() {
                self.recall(inode, keep, |it| it == holder, &self.who(client), now);
            }
            return if open.wait { self.wait(request, fresh) } else { refused(Refusal::Recalling) };
        }
        if let Some(attempt) = self.ask_deny(id, request, open.deny, fresh) {
            return attempt;
        }
        let open = self.insert_open((client, connection), open, now);
        Attempt::Done(Ok(Granted::Opened { open, advisory: self.is_advisory(open) }))
    }

    pub(super) fn try_change(
        &mut self,
        id: RequestId,
        request: &Request,
        change: &ChangeRequest,
        fresh: bool,
        now: Instant,
    ) -> Attempt {
        let ChangeRequest { open: id_of_open, access, deny } = *change;
        let (Some(open), Some(found)) = (self.opens.get(&id_of_open), self.inode(request.inode)) else {
            return refused(Refusal::NotOpen);
        };
        let holder = open.holder();
        if !self.carries_no_more(id_of_open, access) {
            return refused(Refusal::Carries);
        }
        if found.others(holder).conflicts(access, deny) {
            return refused(self.conflict(found.other(holder, |tally| tally.conflicts(access, deny))));
        }
        let keep = Inode::leaves(access);
        if found.lease_in_the_way(holder, keep).is_some() {
            self.recall(request.inode, keep, |it| it == holder, &self.who(request.client), now);
            return refused(Refusal::Recalling);
        }
        if let Some(attempt) = self.ask_deny(id, request, deny, fresh) {
            return attempt;
        }
        self.apply_change(id_of_open, access, deny);
        Attempt::Done(Ok(Granted::Changed { advisory: self.is_advisory(id_of_open) }))
    }

    /// Whether an open of that access could carry the leases and locks that this one does; those, too, of which the
    /// kernel is being asked.
    fn carries_no_more(&self, id: OpenId, access: Access) -> bool {
        let Some(open) = self.opens.get(&id) else { return true };
        let owner = |number| Owner { client: open.client, number };
        let ranges = self.inode(open.inode).map(|found| &found.ranges);
        let locks = ranges.into_iter().flat_map(|ranges| {
            open.owners.keys().flat_map(|number| ranges.of(owner(*number))).filter(|lock| lock.open == id)
        });
        let asked =
            open.requests.iter().filter_map(|id| self.requests.get(id)).filter_map(|it| match it.what {
                What::Lock(lock) if it.ask.is_some() => Some(lock.kind),
                _ => None,
            });
        open.grants.carried_by(access)
            && locks.map(|lock| lock.kind).chain(asked).all(|kind| access.locks(kind))
    }

    /// `None` if the kernel need not be asked, or cannot.
    fn ask_deny(&mut self, id: RequestId, request: &Request, deny: Deny, fresh: bool) -> Option<Attempt> {
        let found = self.inode(request.inode)?;
        if found.deny.held.contains(deny) || request.advisory {
            return None;
        }
        let wanted = found.deny.held.union(deny);
        if found.deny.asked.is_some() {
            return Some(self.wait(request, fresh));
        }
        if let Some(full) = self.no_room(request, fresh) {
            return Some(refused(full));
        }
        let ask = AskId(self.number());
        let found = self.inodes.get_mut(&request.inode)?;
        found.deny.asked = Some(Asked { ask, wanted, request: id });
        self.asks.insert(ask, (request.inode, None));
        let Request { inode, client, .. } = *request;
        self.effects.push(Effect::AskDeny { ask, inode, deny: wanted, client });
        Some(Attempt::Wait)
    }

    fn insert_open(
        &mut self,
        (client, connection): (ClientId, Connection),
        request: &OpenRequest,
        now: Instant,
    ) -> OpenId {
        let OpenRequest { inode, export, writable, access, deny, lease_id, cookie, advisory_ok, .. } =
            *request;
        let id = OpenId(self.number());
        let open = Open {
            client,
            inode,
            export,
            writable,
            access,
            deny,
            lease_id,
            cookie,
            advisory_ok,
            grants: Grants::default(),
            claimed: Grants::default(),
            had_read: false,
            had_write: false,
            owners: BTreeMap::new(),
            requests: BTreeSet::new(),
            connection,
            since: now,
            leased: now,
        };
        let found = self.inodes.entry(inode).or_default();
        found.tally.add(access, deny);
        let holding = found.holders.entry(open.holder()).or_default();
        holding.tally.add(access, deny);
        holding.opens.insert(id);
        if let Some(client) = self.clients.get_mut(&client) {
            client.opens.insert((connection, id));
        }
        self.opens.insert(id, open);
        id
    }

    fn apply_change(&mut self, id: OpenId, access: Access, deny: Deny) {
        let Some(open) = self.opens.get_mut(&id) else { return };
        let Some(found) = self.inodes.get_mut(&open.inode) else { return };
        let Some(holding) = found.holders.get_mut(&open.holder()) else { return };
        for tally in [&mut found.tally, &mut holding.tally] {
            tally.remove(open.access, open.deny);
            tally.add(access, deny);
        }
        (open.access, open.deny) = (access, deny);
    }

    /// Its inode is to be settled.
    pub(super) fn close_open(&mut self, id: OpenId) {
        let Some(open) = self.opens.get(&id) else { return };
        let (client, inode, connection) = (open.client, open.inode, open.connection);
        self.work += 1;
        for request in open.requests.clone() {
            self.abandon(request, Refusal::Released);
        }
        self.drop_grants(id);
        self.drop_locks(id);
        if let Some(open) = self.opens.remove(&id)
            && let Some(found) = self.inodes.get_mut(&inode)
        {
            let holder = open.holder();
            found.tally.remove(open.access, open.deny);
            if let Some(holding) = found.holders.get_mut(&holder) {
                holding.tally.remove(open.access, open.deny);
                holding.opens.remove(&id);
                if holding.opens.is_empty() {
                    found.holders.remove(&holder);
                }
            }
        }
        if let Some(found) = self.clients.get_mut(&client) {
            found.opens.remove(&(connection, id));
            found.reclaimed.remove(&id);
            if found.first_of(connection).is_none() {
                self.schedule.remove(Due::Claim(client, connection));
            }
        }
        self.end_if_gone(client);
    }

    pub(super) fn conflict(&self, with: Option<Holder>) -> Refusal {
        Refusal::Conflict(with.map(|holder| self.who(holder.client)).unwrap_or_default())
    }

    /// Where a lease of `inode` would be granted now, whether the kernel would hold it.
    pub fn kernel_holds(&self, inode: InodeId, kind: super::LeaseKind) -> bool {
        self.inode(inode).is_some_and(|found| found.lease.held >= Some(kind))
    }
}
