//! Leases are called back, and revoked.

use std::time::{Duration, Instant};

use super::{
    ClientId, Effect, Holder, InodeId, Keep, OpenId, Refusal, Table, Who,
    lease::{Grants, Recall},
    schedule::Due,
};

impl Table {
    /// More time for the recall of what this open carries, once; returns what is left from `now`.
    ///
    /// # Errors
    /// `NotOpen`, `NotRecalled`, `Extended`.
    pub fn extend(&mut self, client: ClientId, open: OpenId, now: Instant) -> Result<Duration, Refusal> {
        self.expire(now);
        let found = self.open_of(client, open)?;
        let (inode, holder) = (found.inode, found.holder());
        let extension = self.settings.extension;
        let recall = self
            .holding_mut(inode, holder)
            .and_then(|holding| holding.lease.recall.as_mut())
            .ok_or(Refusal::NotRecalled)?;
        if std::mem::replace(&mut recall.extended, true) {
            return Err(Refusal::Extended);
        }
        recall.deadline += extension;
        let deadline = recall.deadline;
        self.schedule.set(Due::Recall(inode, holder), deadline);
        Ok(deadline.saturating_duration_since(now))
    }

    /// Something outside of the table, which the kernel does not hold back, conflicts with leases that exceed `keep`:
    /// a rename, unlink, truncate or change of attributes; an open of a file with advisory leases. A client's `own` does
    /// not concern its leases.
    pub fn outside(
        &mut self,
        inode: InodeId,
        keep: Keep,
        own: impl Fn(ClientId) -> bool,
        who: Who,
        now: Instant,
    ) {
        self.expire(now);
        self.recall(inode, keep, |holder| own(holder.client), &who, now);
    }

    /// Recalls what exceeds `keep`, but for some. None is recalled twice, except down to less.
    pub(super) fn recall(
        &mut self,
        inode: InodeId,
        keep: Keep,
        but: impl Fn(Holder) -> bool,
        who: &Who,
        now: Instant,
    ) {
        let deadline = now + self.settings.recall;
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        let keep = if found.lease.is_whole() { Keep::None } else { keep };
        for holder in found.exceeding(keep, but) {
            let Some(found) = self.inodes.get_mut(&inode) else { return };
            let Some(holding) = found.holders.get_mut(&holder) else { continue };
            match &mut holding.lease.recall {
                Some(recall) if recall.keep <= keep => continue,
                Some(recall) => {
                    recall.keep = keep;
                    recall.who = who.clone();
                }
                recall @ None => {
                    *recall = Some(Recall { keep, deadline, extended: false, who: who.clone() });
                    found.recalled.insert(holder);
                    self.schedule.set(Due::Recall(inode, holder), deadline);
                }
            }
            for (open, _) in self.carriers(inode, holder) {
                self.tell_recall(inode, holder, open);
            }
        }
    }

    /// To a client that has reclaimed what this open carries, and knows it from now on.
    pub(super) fn repeat_recall(&mut self, open: OpenId) {
        if let Some(found) = self.opens.get(&open) {
            let (inode, holder) = (found.inode, found.holder());
            self.tell_recall(inode, holder, open);
        }
    }

    fn tell_recall(&mut self, inode: InodeId, holder: Holder, open: OpenId) {
        if let Some(lease) = self.inode(inode).and_then(|found| found.lease(holder))
            && let (Some(held), Some(recall)) = (lease.kind(), &lease.recall)
            && let Some(cookie) = self.opens.get(&open).map(|open| open.cookie)
            && self.is_connected(holder.client)
        {
            let Holder { client, lease_id } = holder;
            let Recall { keep, deadline, ref who, .. } = *recall;
            let who = who.clone();
            self.effects.push(Effect::Recall { client, open, cookie, lease_id, held, keep, deadline, who });
        }
    }

    /// The opens that carry the lease, and their cookies.
    fn carriers(&self, inode: InodeId, holder: Holder) -> Vec<(OpenId, u64)> {
        let holding = self.inode(inode).and_then(|found| found.holders.get(&holder));
        let opens = holding.into_iter().flat_map(|holding| &holding.opens);
        opens
            .filter_map(|id| self.opens.get(id).map(|open| (*id, open)))
            .filter(|(_, open)| open.grants.total() > 0)
            .map(|(id, open)| (id, open.cookie))
            .collect()
    }

    /// All that the holder has is gone, and its client gets none of that inode for a while.
    pub(super) fn revoke(&mut self, inode: InodeId, holder: Holder, now: Instant) {
        let kind = self.inode(inode).and_then(|found| found.lease(holder)?.kind());
        if let Some(kind) = kind {
            let Holder { client, lease_id } = holder;
            self.effects.extend(
                self.carriers(inode, holder).into_iter().map(|(open, cookie)| Effect::Revoked {
                    client,
                    open,
                    cookie,
                    lease_id,
                    kind,
                }),
            );
        }
        let opens = self.holding_mut(inode, holder).map(|holding| holding.opens.clone()).unwrap_or_default();
        for open in opens {
            self.drop_grants(open);
        }
        if let (Some(found), Some(client)) =
            (self.inodes.get_mut(&inode), self.clients.get_mut(&holder.client))
        {
            found.backoff.insert(holder.client);
            client.backoff.insert(inode);
            self.schedule.set(Due::Backoff(inode, holder.client), now + self.settings.backoff);
        }
        self.schedule.set(Due::Settle(inode), now);
    }

    /// What this open carries is given up.
    pub(super) fn drop_grants(&mut self, open: OpenId) {
        let Some(found) = self.opens.get_mut(&open) else { return };
        let grants = std::mem::take(&mut found.grants);
        found.claimed = Grants::default();
        self.work += 1;
        let (inode, holder) = (found.inode, found.holder());
        if let Some(holding) = self.holding_mut(inode, holder) {
            holding.lease.grants.subtract(grants);
        }
        self.count_given_up(inode, holder.client, grants);
        self.lease_weakened(inode, holder);
    }

    pub(super) fn count_given_up(&mut self, inode: InodeId, client: ClientId, grants: Grants) {
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.leases -= grants.total();
        }
        if let Some(found) = self.clients.get_mut(&client) {
            found.leases -= grants.total();
        }
    }

    /// A recall is over once no more than may be kept is left.
    pub(super) fn lease_weakened(&mut self, inode: InodeId, holder: Holder) {
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        let Some(holding) = found.holders.get_mut(&holder) else { return };
        let kind = holding.lease.kind();
        if kind.is_none() {
            found.leased.remove(&holder);
        }
        if holding.lease.recall.as_ref().is_some_and(|recall| recall.keep.allows(kind)) {
            holding.lease.recall = None;
            found.recalled.remove(&holder);
            self.schedule.remove(Due::Recall(inode, holder));
        }
    }
}
