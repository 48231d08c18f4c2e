//! Requests are tried, wait, and are tried anew after whatever may let them go on; and what nobody needs any more is
//! given up.

use std::time::Instant;

use super::{
    ClientId, Effect, Granted, InodeId, Owner, Refusal, Reply, RequestId, Table,
    request::{Attempt, Request, What, refused},
    schedule::Due,
    table::STEP,
};

impl Table {
    pub(super) fn submit(&mut self, client: ClientId, inode: InodeId, what: What, now: Instant) -> Reply {
        self.inodes.entry(inode).or_default();
        let id = RequestId(self.number());
        let request = Request { client, inode, what, advisory: false, since: now, ask: None, recheck: false };
        let attempt = self.attempt(id, &request, true, now);
        let reply = match attempt {
            Attempt::Done(answer) => Reply::Now(answer),
            Attempt::Wait => self.enqueue(id, request),
            Attempt::Asked(ask) => self.enqueue(id, Request { ask: Some(ask), ..request }),
        };
        self.settle(inode, now);
        reply
    }

    fn attempt(&mut self, id: RequestId, request: &Request, fresh: bool, now: Instant) -> Attempt {
        self.work += 1;
        match &request.what {
            What::Open(open) => self.try_open(id, request, open, fresh, now),
            What::Change(change) => self.try_change(id, request, change, fresh, now),
            What::Lease(lease) => self.try_lease(id, request, lease, fresh, now),
            What::Lock(lock) => self.try_lock(id, request, lock, fresh, now),
        }
    }

    fn enqueue(&mut self, id: RequestId, request: Request) -> Reply {
        self.requests.insert(id, request);
        if let Some(client) = self.clients.get_mut(&request.client) {
            client.waiting.insert(id);
        }
        if let Some(open) = request.open().and_then(|open| self.opens.get_mut(&open)) {
            open.requests.insert(id);
        }
        if let Some(inode) = self.inodes.get_mut(&request.inode) {
            inode.requests += 1;
            if !matches!(request.what, What::Lock(_)) {
                inode.waiting.insert(id);
            }
        }
        self.set_blocked(id, &request, request.ask.is_none());
        Reply::Later(id)
    }

    /// Whether a request for a lock waits in the table.
    fn set_blocked(&mut self, id: RequestId, request: &Request, blocked: bool) {
        let What::Lock(lock) = request.what else { return };
        if let (Some(inode), Some(client)) =
            (self.inodes.get_mut(&request.inode), self.clients.get_mut(&request.client))
        {
            if blocked {
                inode.blocked.insert(id);
                client.blocked.insert((lock.owner, id));
            } else {
                inode.blocked.remove(&id);
                client.blocked.remove(&(lock.owner, id));
            }
        }
    }

    /// To wait, if there is room.
    pub(super) fn wait(&self, request: &Request, fresh: bool) -> Attempt {
        self.no_room(request, fresh).map_or(Attempt::Wait, refused)
    }

    pub(super) fn no_room(&self, request: &Request, fresh: bool) -> Option<Refusal> {
        let limits = self.settings.limits;
        let of_client = self.clients.get(&request.client).map_or(0, |client| client.waiting.len());
        let of_inode = self.inode(request.inode).map_or(0, |inode| inode.requests);
        let full = of_client >= limits.client.waiting || of_inode >= limits.inode.waiting;
        (fresh && full).then_some(Refusal::TooManyWaiting)
    }

    /// Tries what waits for this inode, in order, and gives up what nobody needs any more.
    pub(super) fn settle(&mut self, inode: InodeId, now: Instant) {
        self.schedule.remove(Due::Settle(inode));
        // What is granted, such as a weaker lock, may let an earlier one go on.
        let most = self.work + STEP;
        while self.try_all(inode, now) {
            if self.work >= most {
                self.schedule.set(Due::Settle(inode), now);
                break;
            }
        }
        if let Some(found) = self.inodes.get_mut(&inode) {
            found.gained.clear();
        }
        self.give_up_unneeded(inode);
        if self.inode(inode).is_some_and(super::inode::Inode::is_empty)
            && let Some(found) = self.inodes.remove(&inode)
        {
            found.contended.into_iter().for_each(|owner| self.schedule.remove(Due::Contention(inode, owner)));
            self.effects.push(Effect::Forget { inode });
        }
    }

    /// Whether any was granted.
    fn try_all(&mut self, inode: InodeId, now: Instant) -> bool {
        let Some(found) = self.inode(inode) else { return false };
        let waiting: Vec<RequestId> = found.waiting.iter().chain(&found.blocked).copied().collect();
        let mut granted = false;
        for id in waiting {
            let Some(request) = self.requests.get_mut(&id) else { continue };
            let tried = *request;
            request.recheck = false;
            match self.attempt(id, &tried, false, now) {
                Attempt::Done(answer) => {
                    granted |= answer.is_ok();
                    self.finish(id, answer);
                }
                Attempt::Asked(ask) => {
                    if let Some(request) = self.requests.get_mut(&id) {
                        request.ask = Some(ask);
                    }
                    self.set_blocked(id, &tried, false);
                }
                Attempt::Wait => {}
            }
        }
        granted
    }

    /// The answer to a request that waited.
    pub(super) fn finish(&mut self, id: RequestId, answer: Result<Granted, Refusal>) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.set_blocked(id, &request, false);
        if let Some(inode) = self.inodes.get_mut(&request.inode) {
            inode.requests -= 1;
            inode.waiting.remove(&id);
        }
        if let Some(open) = request.open().and_then(|open| self.opens.get_mut(&open)) {
            open.requests.remove(&id);
        }
        if let Some(client) = self.clients.get_mut(&request.client) {
            client.waiting.remove(&id);
            if client.connection.is_some() {
                self.effects.push(Effect::Answer { client: request.client, request: id, answer });
            }
        }
    }

    /// A request ends without having been granted. Its inode is to be settled.
    pub(super) fn abandon(&mut self, id: RequestId, why: Refusal) -> Option<InodeId> {
        let request = *self.requests.get(&id)?;
        let Request { client, inode, what, ask, .. } = request;
        if let (What::Lock(lock), Some(ask), Some(found)) = (what, ask, self.inodes.get_mut(&inode))
            && let Some(asked) = found.asks.get_mut(&(Owner { client, number: lock.owner }, ask))
        {
            asked.request = None;
            if lock.wait {
                self.effects.push(Effect::CancelRange { ask });
            }
        }
        self.finish(id, Err(why));
        Some(inode)
    }

    /// The client does not want a request any more that has not been answered. It is answered all the same: `Cancelled`,
    /// or granted if it was too late.
    ///
    /// # Errors
    /// `NotBegun`, `NotWaiting`.
    pub fn cancel(&mut self, client: ClientId, request: RequestId, now: Instant) -> Result<(), Refusal> {
        self.expire(now);
        self.connected(client)?;
        let found =
            self.requests.get(&request).filter(|it| it.client == client).ok_or(Refusal::NotWaiting)?;
        let inode = found.inode;
        match found.ask {
            Some(ask) => self.effects.push(Effect::CancelRange { ask }),
            None => {
                self.abandon(request, Refusal::Cancelled);
                self.settle(inode, now);
            }
        }
        Ok(())
    }

    fn give_up_unneeded(&mut self, inode: InodeId) {
        let Some(found) = self.inodes.get_mut(&inode) else { return };
        let needed = found.strongest();
        let lease = &mut found.lease;
        if lease.asked.is_none() {
            if lease.held > needed {
                lease.held = needed;
                self.effects.push(Effect::SetLease { inode, kind: needed });
            }
            lease.breaking = lease.breaking.filter(|keep| !keep.allows(lease.held));
        }
        let needed = found.tally.deny().intersection(found.deny.held);
        if found.deny.asked.is_none() && found.deny.held != needed {
            found.deny.held = needed;
            self.effects.push(Effect::SetDeny { inode, deny: needed });
        }
    }
}
