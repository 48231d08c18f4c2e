//! What clients and the kernel call, over the lists.

use std::time::Duration;

use super::{
    super::super::{open::Claim, request::What, *},
    lists::Grant,
    naive::Naive,
};

fn now(refusal: Refusal) -> Reply {
    Reply::Now(Err(refusal))
}

impl Naive {
    pub(super) fn call_open(&mut self, client: ClientId, wish: OpenRequest) -> Reply {
        if !self.connected(client) {
            return now(Refusal::NotBegun);
        }
        if wish.reclaim.is_none() && self.in_grace() {
            return now(Refusal::Grace);
        }
        if let Some(id) = wish.reclaim {
            let reads = |it: Access| it != Access::Write;
            let writes = |it: Access| it != Access::Read;
            let same = |it: &OpenRequest| {
                (it.inode, it.lease_id, it.cookie) == (wish.inode, wish.lease_id, wish.cookie)
                    && reads(it.access) >= reads(wish.access)
                    && writes(it.access) >= writes(wish.access)
                    && it.deny.union(wish.deny) == it.deny
            };
            let connection = self.clients.iter().find(|it| it.id == client).and_then(|it| it.connection);
            let awaited = self.opens.iter_mut().find(|it| {
                (it.holder.client, it.id, it.claim) == (client, id, Claim::Awaited) && same(&it.wish)
            });
            if let Some(open) = awaited {
                (open.claim, open.until) = (Claim::Reclaimed, None);
                open.connection = connection.expect("connected");
                open.grants.iter_mut().for_each(|grant| grant.claimed = false);
                let open = self.opens.iter().find(|it| it.id == id).expect("an open");
                let narrowed = self.carried_by(open, wish.access);
                let open = self.open(id);
                let known = (if narrowed { wish.access } else { open.wish.access }, wish.deny);
                if known != (open.wish.access, open.wish.deny) {
                    (open.wish.access, open.wish.deny) = known;
                    self.settle(wish.inode);
                }
                let denied = self.file(wish.inode).denied;
                let advisory = denied.union(wish.deny) != denied;
                return Reply::Now(Ok(Granted::Opened { open: id, advisory }));
            }
            if !self.in_grace() {
                return now(Refusal::NoReclaim);
            }
        }
        self.submit(client, wish.inode, What::Open(wish))
    }

    pub(super) fn call_change(&mut self, client: ClientId, change: ChangeRequest) -> Reply {
        let wish = match self.open_of(client, change.open) {
            Ok(open) => open.wish,
            Err(refusal) => return now(refusal),
        };
        let grows = (change.access.reads() && !wish.access.reads())
            || (change.access.writes() && !wish.access.writes())
            || wish.deny.union(change.deny) != wish.deny;
        if grows && self.in_grace() {
            return now(Refusal::Grace);
        }
        self.submit(client, wish.inode, What::Change(change))
    }

    pub(super) fn call_close(&mut self, client: ClientId, open: OpenId) -> Result<(), Refusal> {
        self.open_of(client, open)?;
        let inode = self.close(open);
        self.settle(inode);
        Ok(())
    }

    pub(super) fn call_lease(&mut self, client: ClientId, lease: LeaseRequest) -> Reply {
        let grace = self.in_grace();
        let open = match self.open_of(client, lease.open) {
            Ok(open) => open,
            Err(refusal) => return now(refusal),
        };
        let inode = open.wish.inode;
        if !open.wish.access.carries(lease.kind) {
            return now(Refusal::NotCarried);
        }
        if !lease.reclaim && grace {
            return now(Refusal::Grace);
        }
        if lease.reclaim {
            let has = open.grants.iter().any(|grant| grant.kind == lease.kind);
            if has && (open.claim != Claim::Fresh || !grace) {
                let mut grants = self.open(lease.open).grants.iter_mut();
                if let Some(grant) = grants.find(|it| it.kind == lease.kind && !it.claimed) {
                    grant.claimed = true;
                }
                let advisory = self.file(inode).held < Some(lease.kind);
                let holder = self.open(lease.open).holder;
                let known = self.recalls.iter().position(|it| (it.inode, it.holder) == (inode, holder));
                if let Some(at) = known {
                    self.tell_recall(at, 1);
                }
                return Reply::Now(Ok(Granted::Leased { kind: lease.kind, advisory }));
            }
            if !grace {
                return now(Refusal::NoReclaim);
            }
        }
        self.submit(client, inode, What::Lease(lease))
    }

    pub(super) fn call_give_back(
        &mut self,
        client: ClientId,
        id: OpenId,
        kind: LeaseKind,
        keep: Keep,
    ) -> Result<(), Refusal> {
        let open = self.open_of(client, id)?;
        let inode = open.wish.inode;
        if keep == Keep::Read && !open.wish.access.reads() {
            return Err(Refusal::NotCarried);
        }
        let held = open.grants.iter().enumerate().filter(|(_, it)| it.kind == kind);
        // One that is claimed, if there is.
        let Some((at, _)) = held.max_by_key(|(_, it)| it.claimed) else {
            return if open.had.contains(&kind) { Ok(()) } else { Err(Refusal::NotHeld) };
        };
        let open = self.open(id);
        let claimed = open.grants.remove(at).claimed || open.claim == Claim::Reclaimed;
        open.grants.extend(keep.kind().map(|kind| Grant { kind, claimed }));
        open.had.extend(keep.kind());
        self.end_recalls();
        self.settle(inode);
        Ok(())
    }

    pub(super) fn call_extend(&mut self, client: ClientId, open: OpenId) -> Result<Duration, Refusal> {
        let open = self.open_of(client, open)?;
        let (inode, holder) = (open.wish.inode, open.holder);
        let (now, more) = (self.now, self.settings.extension);
        let recall = self.recalls.iter_mut().find(|it| (it.inode, it.holder) == (inode, holder));
        let recall = recall.ok_or(Refusal::NotRecalled)?;
        if recall.extended {
            return Err(Refusal::Extended);
        }
        recall.extended = true;
        recall.deadline += more;
        Ok(recall.deadline - now)
    }

    pub(super) fn call_lock(&mut self, client: ClientId, lock: LockRequest) -> Reply {
        let grace = self.in_grace();
        let inode = match self.open_of(client, lock.open) {
            Ok(open) => open.wish.inode,
            Err(refusal) => return now(refusal),
        };
        if !lock.reclaim && grace {
            return now(Refusal::Grace);
        }
        self.claim_lock(client, inode, &lock);
        if lock.reclaim {
            let owner = Owner { client, number: lock.owner };
            let awaited: Vec<_> =
                self.opens.iter().filter(|it| it.claim == Claim::Awaited).map(|it| it.id).collect();
            let own: Vec<_> = self
                .bytes
                .iter()
                .filter(|it| (it.inode, it.owner) == (inode, owner) && it.kind >= lock.kind)
                .filter(|it| lock.range.start() <= it.at && it.at <= lock.range.last())
                .filter(|it| !awaited.contains(&it.open))
                .collect();
            if own.len() as u64 == lock.range.length() {
                let advisory = own.iter().any(|it| it.advisory);
                self.carry(client, inode, &lock);
                return Reply::Now(Ok(Granted::Locked { advisory }));
            }
            if !grace {
                return now(Refusal::NoReclaim);
            }
        }
        self.submit(client, inode, What::Lock(lock))
    }

    pub(super) fn call_unlock(
        &mut self,
        client: ClientId,
        open: OpenId,
        number: u64,
        range: Range,
    ) -> Result<(), Refusal> {
        let inode = self.open_of(client, open)?.wish.inode;
        let owner = Owner { client, number };
        let before = self.bytes.clone();
        let (of_client, of_inode) =
            (self.ranges(|it| it.owner.client == client), self.ranges(|it| it.inode == inode));
        let freed = |at: u64| range.start() <= at && at <= range.last();
        self.bytes.retain(|it| (it.inode, it.owner) != (inode, owner) || !freed(it.at));
        let limits = self.settings.limits;
        let full = of_client >= limits.client.locks || of_inode >= limits.inode.locks;
        if full && self.ranges(|it| it.inode == inode) > of_inode {
            self.bytes = before;
            return Err(Refusal::TooManyLocks);
        }
        if self.bytes.len() < before.len() {
            self.owner_changed(inode, owner);
            self.settle(inode);
        }
        Ok(())
    }

    pub(super) fn call_breaks(&mut self, inode: InodeId, keep: Keep) {
        let asked =
            self.asks.iter().any(|it| it.inode == inode && matches!(it.asked, super::lists::Asked::Lease(_)));
        let file = self.file(inode);
        if file.held.is_none() && !asked {
            return;
        }
        file.breaking = Some(file.breaking.map_or(keep, |it| it.min(keep)));
        self.recall(inode, keep, |_| false);
        self.settle(inode);
    }

    pub(super) fn call_lost(&mut self, inode: InodeId) {
        let asked =
            self.asks.iter().any(|it| it.inode == inode && matches!(it.asked, super::lists::Asked::Lease(_)));
        let file = self.file(inode);
        let lost = file.held.take();
        if !asked {
            file.breaking = None;
        }
        for holder in self.holders(inode) {
            let held = self.held(inode, holder);
            if held.is_some() && held <= lost {
                self.revoke(inode, holder);
            }
        }
        self.settle(inode);
    }
}
