//! Leases are granted and given back.

use std::time::Instant;

use super::{
    AskId, ClientId, Effect, Granted, Holder, InodeId, Keep, LeaseKind, LeaseRequest, OpenId, Refusal, Reply,
    RequestId, Table,
    inode::Asked,
    lease::Grants,
    open::Claim,
    request::{Attempt, Request, What, refused},
};

impl Table {
    /// One more lease of this kind for an open; each takes one [`Table::give_back`].
    ///
    /// # Errors
    /// `NotOpen`, `Grace`, `NoReclaim`, `NotCarried`, `Backoff`, `TooManyLeases`, `TooManyWaiting`, `Conflict`,
    /// `Recalling`, `LocalConflict`, `Unsupported`; later also `Cancelled`, `Released`.
    pub fn lease(&mut self, client: ClientId, request: LeaseRequest, now: Instant) -> Reply {
        self.expire(now);
        match self.admit_lease(client, &request) {
            Ok((inode, false)) => self.submit(client, inode, What::Lease(request), now),
            Ok((inode, true)) => {
                if let Some(open) = self.opens.get_mut(&request.open) {
                    open.claimed.add(request.kind);
                }
                self.repeat_recall(request.open);
                Reply::Now(Ok(self.leased(inode, request.kind)))
            }
            Err(refusal) => Reply::Now(Err(refusal)),
        }
    }

    /// The inode, and whether the open has what it reclaims.
    fn admit_lease(&self, client: ClientId, request: &LeaseRequest) -> Result<(InodeId, bool), Refusal> {
        let open = self.open_of(client, request.open)?;
        if !open.access.carries(request.kind) {
            return Err(Refusal::NotCarried);
        }
        match (request.reclaim, self.in_grace()) {
            (false, true) => Err(Refusal::Grace),
            (false, false) => Ok((open.inode, false)),
            (true, in_grace) => {
                let kept = open.grants.of(request.kind) > 0;
                // An open that came back as such in this grace period gets its leases one by one.
                match kept && (self.claim(request.open) != Claim::Fresh || !in_grace) {
                    true => Ok((open.inode, true)),
                    false if in_grace => Ok((open.inode, false)),
                    false => Err(Refusal::NoReclaim),
                }
            }
        }
    }

    fn leased(&self, inode: InodeId, kind: LeaseKind) -> Granted {
        Granted::Leased { kind, advisory: !self.kernel_holds(inode, kind) }
    }

    /// Gives up one lease of this kind: a release, the answer to a recall, or, where something is kept, a downgrade.
    /// One that the open had and has no more is given up already.
    ///
    /// # Errors
    /// `NotOpen`, `NotHeld` if it never had one, `NotCarried` if it cannot keep that.
    pub fn give_back(
        &mut self,
        client: ClientId,
        open: OpenId,
        kind: LeaseKind,
        keep: Keep,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.expire(now);
        let found = self.open_of(client, open)?;
        let (inode, holder) = (found.inode, found.holder());
        let is_whole = self.inode(inode).is_some_and(|found| found.lease.is_whole());
        if keep.kind().is_some_and(|kept| is_whole || !found.access.carries(kept)) {
            return Err(Refusal::NotCarried);
        }
        if found.grants.of(kind) == 0 {
            return if found.had(kind) { Ok(()) } else { Err(Refusal::NotHeld) };
        }
        let kept = keep.kind();
        let reclaimed = self.claim(open) == Claim::Reclaimed;
        if let Some(open) = self.opens.get_mut(&open) {
            open.had_read |= kept == Some(LeaseKind::Read);
            open.grants.replace(kind, kept);
            if open.claimed.of(kind) > 0 {
                open.claimed.replace(kind, kept);
            } else if reclaimed && let Some(kept) = kept {
                open.claimed.add(kept);
            }
        }
        if let Some(holding) = self.holding_mut(inode, holder) {
            holding.lease.grants.replace(kind, kept);
        }
        if kept.is_none() {
            self.count_given_up(inode, client, Grants::one(kind));
        }
        self.lease_weakened(inode, holder);
        self.settle(inode, now);
        Ok(())
    }

    pub(super) fn try_lease(
        &mut self,
        id: RequestId,
        request: &Request,
        lease: &LeaseRequest,
        fresh: bool,
        now: Instant,
    ) -> Attempt {
        let Request { client, inode, .. } = *request;
        let kind = lease.kind;
        let limits = self.settings.limits;
        let (Some(open), Some(by), Some(found)) =
            (self.opens.get(&lease.open), self.clients.get(&client), self.inode(inode))
        else {
            return refused(Refusal::NotOpen);
        };
        let holder = open.holder();
        // It may have changed while this waited.
        if !open.access.carries(kind) {
            return refused(Refusal::NotCarried);
        }
        if found.backoff.contains(&client) {
            return refused(Refusal::Backoff);
        }
        if by.leases >= limits.client.leases || found.leases >= limits.inode.leases {
            return refused(Refusal::TooManyLeases);
        }
        // Fair: as long as somebody waits for leases to end, there are no new ones.
        if found.lease.breaking.is_some() || !found.recalled.is_empty() {
            let keep = Self::leaves_leases(kind);
            if !lease.reclaim {
                self.recall(inode, keep, |it| it == holder, &self.who(client), now);
            }
            return refused(Refusal::Recalling);
        }
        let keep = Self::leaves_leases(kind);
        if let Some(other) = found.lease_in_the_way(holder, keep) {
            if lease.reclaim {
                return refused(self.conflict(Some(other)));
            }
            self.recall(inode, keep, |it| it == holder, &self.who(client), now);
            return refused(Refusal::Recalling);
        }
        let excluded = |tally: &super::tally::Tally| match kind {
            LeaseKind::Read => tally.writers > 0,
            LeaseKind::Write => tally.opens > 0,
        };
        if excluded(&found.others(holder)) {
            return refused(self.conflict(found.other(holder, excluded)));
        }
        if found.lease.held < Some(kind) && !request.advisory {
            return self.ask_lease(id, request, lease, fresh);
        }
        self.grant(inode, holder, lease.open, kind, now);
        Attempt::Done(Ok(self.leased(inode, kind)))
    }

    /// What a lease of that kind leaves to the others.
    const fn leaves_leases(kind: LeaseKind) -> Keep {
        match kind {
            LeaseKind::Read => Keep::Read,
            LeaseKind::Write => Keep::None,
        }
    }

    fn ask_lease(&mut self, id: RequestId, request: &Request, lease: &LeaseRequest, fresh: bool) -> Attempt {
        let LeaseRequest { kind, open, .. } = *lease;
        if self.inode(request.inode).is_some_and(|found| found.lease.asked.is_some()) {
            return self.wait(request, fresh);
        }
        if let Some(full) = self.no_room(request, fresh) {
            return refused(full);
        }
        let ask = AskId(self.number());
        if let Some(found) = self.inodes.get_mut(&request.inode) {
            found.lease.asked = Some(Asked { ask, wanted: kind, request: id });
            self.asks.insert(ask, (request.inode, None));
            self.effects.push(Effect::AskLease { ask, inode: request.inode, kind, open });
        }
        Attempt::Wait
    }

    fn grant(&mut self, inode: InodeId, holder: Holder, open: OpenId, kind: LeaseKind, now: Instant) {
        let reclaimed = self.claim(open) == Claim::Reclaimed;
        if let Some(open) = self.opens.get_mut(&open) {
            if open.grants.total() == 0 {
                open.leased = now;
            }
            open.grants.add(kind);
            // What it gets while it reclaims, it knows of.
            if reclaimed {
                open.claimed.add(kind);
            }
            open.had_read |= kind == LeaseKind::Read;
            open.had_write |= kind == LeaseKind::Write;
        }
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.leases += 1;
            found.leased.insert(holder);
            if let Some(holding) = found.holders.get_mut(&holder) {
                holding.lease.grants.add(kind);
            }
        }
        if let Some(client) = self.clients.get_mut(&holder.client) {
            client.leases += 1;
        }
    }
}
