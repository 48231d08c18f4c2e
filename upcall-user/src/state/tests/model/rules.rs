//! Who conflicts with whom in opens and leases, over the lists.

use super::{
    super::super::{open::Claim, request::What, *},
    lists::{Ask, Asked, Grant, Open, Recall, Request},
    naive::Naive,
};

pub(super) type Answer = Option<Result<Granted, Refusal>>;

pub(super) const fn refused(refusal: Refusal) -> Answer {
    Some(Err(refusal))
}

pub(super) const CONFLICT: Refusal = Refusal::Conflict(Who::Unknown);

fn meets(access: Access, deny: Deny) -> bool {
    (access.reads() && deny.denies_read()) || (access.writes() && deny.denies_write())
}

impl Naive {
    /// `None`: not yet.
    pub(super) fn attempt(&mut self, request: &Request, fresh: bool) -> Answer {
        match request.what {
            What::Open(wish) => {
                let holder = Holder { client: request.client, lease_id: wish.lease_id };
                self.share(request, holder, wish.access, wish.deny, fresh, None)
            }
            What::Change(change) => {
                let open = self.opens.iter().find(|it| it.id == change.open).expect("an open");
                if !self.carried_by(open, change.access) {
                    return refused(Refusal::Carries);
                }
                self.share(request, open.holder, change.access, change.deny, fresh, Some(change.open))
            }
            What::Lease(lease) => self.lease(request, lease, fresh),
            What::Lock(lock) => self.lock(request, &lock, fresh),
        }
    }

    /// Whether an open of that access could carry what this one does.
    pub(super) fn carried_by(&self, open: &Open, access: Access) -> bool {
        let asked = self.requests.iter().filter_map(|it| match it.what {
            What::Lock(lock) if self.asks.iter().any(|ask| ask.request == Some(it.id)) => Some(lock),
            _ => None,
        });
        open.grants.iter().all(|grant| access.carries(grant.kind))
            && self.bytes.iter().filter(|it| it.open == open.id).all(|it| access.locks(it.kind))
            && asked.filter(|it| it.open == open.id).all(|it| access.locks(it.kind))
    }

    pub(super) fn later(&self, request: &Request, fresh: bool) -> Answer {
        let limits = self.settings.limits;
        let of_client = self.requests.iter().filter(|it| it.client == request.client).count();
        let of_inode = self.requests.iter().filter(|it| it.inode == request.inode).count();
        let full = of_client >= limits.client.waiting || of_inode >= limits.inode.waiting;
        if fresh && full { refused(Refusal::TooManyWaiting) } else { None }
    }

    pub(super) fn ask(&mut self, request: &Request, asked: Asked) -> Answer {
        let id = AskId(self.number());
        self.asks.push(Ask { id, inode: request.inode, asked, request: Some(request.id) });
        let what = match asked {
            Asked::Lease(kind) => format!("{kind:?}"),
            Asked::Deny(deny) => format!("{deny:?}"),
            Asked::Range(owner, range, kind) => format!("{owner:?} {range:?} {kind:?}"),
        };
        self.said.push(format!("ask {id:?} {what}"));
        None
    }

    fn share(
        &mut self,
        request: &Request,
        holder: Holder,
        access: Access,
        deny: Deny,
        fresh: bool,
        change: Option<OpenId>,
    ) -> Answer {
        let (inode, limits) = (request.inode, self.settings.limits);
        let of_inode = self.opens.iter().filter(|it| it.wish.inode == inode);
        let of_client = self.opens.iter().filter(|it| it.holder.client == request.client);
        if change.is_none()
            && (of_client.count() >= limits.client.opens || of_inode.clone().count() >= limits.inode.opens)
        {
            return refused(Refusal::TooManyOpens);
        }
        let mut others = of_inode.filter(|it| it.holder != holder);
        if others.any(|it| meets(access, it.wish.deny) || meets(it.wish.access, deny)) {
            return refused(CONFLICT);
        }
        let keep = if access.writes() { Keep::None } else { Keep::Read };
        let (reclaim, wait) = match request.what {
            What::Open(wish) => (wish.reclaim.is_some(), wish.wait),
            _ => (false, false),
        };
        let exceeds = |it: &Holder| *it != holder && self.held(inode, *it) > keep.kind();
        if self.holders(inode).iter().any(exceeds) {
            if reclaim {
                return refused(CONFLICT);
            }
            if fresh || change.is_some() || !self.recalls.iter().any(|it| it.inode == inode) {
                self.recall(inode, keep, |it| it == holder);
            }
            return if wait { self.later(request, fresh) } else { refused(Refusal::Recalling) };
        }
        let denied = self.file(inode).denied;
        if denied.union(deny) != denied && !request.advisory {
            if self.asks.iter().any(|it| it.inode == inode && matches!(it.asked, Asked::Deny(_))) {
                return self.later(request, fresh);
            }
            return self.later(request, fresh).or_else(|| self.ask(request, Asked::Deny(denied.union(deny))));
        }
        let advisory = denied.union(deny) != denied;
        match (change, request.what) {
            (Some(id), _) => {
                let open = self.open(id);
                (open.wish.access, open.wish.deny) = (access, deny);
                Some(Ok(Granted::Changed { advisory }))
            }
            (None, What::Open(wish)) => {
                let id = OpenId(self.number());
                let (grants, had) = (Vec::new(), Vec::new());
                let by = self.clients.iter().find(|it| it.id == holder.client);
                let connection = by.and_then(|it| it.connection).expect("connected");
                let claim = Claim::Fresh;
                self.opens.push(Open { id, holder, wish, claim, until: None, connection, grants, had });
                Some(Ok(Granted::Opened { open: id, advisory }))
            }
            _ => unreachable!("an open or a change"),
        }
    }

    fn lease(&mut self, request: &Request, lease: LeaseRequest, fresh: bool) -> Answer {
        let (inode, kind, limits) = (request.inode, lease.kind, self.settings.limits);
        let open = self.opens.iter().find(|it| it.id == lease.open).expect("an open");
        let holder = open.holder;
        if !open.wish.access.carries(kind) {
            return refused(Refusal::NotCarried);
        }
        if self.backoff.iter().any(|it| (it.0, it.1) == (inode, request.client)) {
            return refused(Refusal::Backoff);
        }
        let grants = |such: &dyn Fn(&&Open) -> bool| -> usize {
            self.opens.iter().filter(such).map(|it| it.grants.len()).sum()
        };
        if grants(&|it| it.holder.client == request.client) >= limits.client.leases
            || grants(&|it| it.wish.inode == inode) >= limits.inode.leases
        {
            return refused(Refusal::TooManyLeases);
        }
        let keep = if kind == LeaseKind::Read { Keep::Read } else { Keep::None };
        let exceeds = |it: &Holder| *it != holder && self.held(inode, *it) > keep.kind();
        let waited_for = self.recalls.iter().any(|it| it.inode == inode)
            || self.files.iter().any(|it| it.id == inode && it.breaking.is_some());
        let in_the_way = self.holders(inode).iter().any(exceeds);
        if waited_for || in_the_way {
            if lease.reclaim {
                return refused(if waited_for { Refusal::Recalling } else { CONFLICT });
            }
            self.recall(inode, keep, |it| it == holder);
            return refused(Refusal::Recalling);
        }
        let excludes = |it: &Open| kind == LeaseKind::Write || it.wish.access.writes();
        if self.opens.iter().any(|it| it.wish.inode == inode && it.holder != holder && excludes(it)) {
            return refused(CONFLICT);
        }
        let held = self.file(inode).held;
        if held < Some(kind) && !request.advisory {
            if self.asks.iter().any(|it| it.inode == inode && matches!(it.asked, Asked::Lease(_))) {
                return self.later(request, fresh);
            }
            return self.later(request, fresh).or_else(|| self.ask(request, Asked::Lease(kind)));
        }
        let open = self.open(lease.open);
        open.grants.push(Grant { kind, claimed: open.claim == Claim::Reclaimed });
        open.had.push(kind);
        Some(Ok(Granted::Leased { kind, advisory: held < Some(kind) }))
    }

    pub(super) fn recall(&mut self, inode: InodeId, keep: Keep, but: impl Fn(Holder) -> bool) {
        for holder in self.holders(inode) {
            if but(holder) || self.held(inode, holder) <= keep.kind() {
                continue;
            }
            let known = self.recalls.iter().position(|it| (it.inode, it.holder) == (inode, holder));
            match known {
                Some(at) if self.recalls[at].keep <= keep => {}
                Some(at) => {
                    self.recalls[at].keep = keep;
                    self.tell_recall(at, self.carriers(inode, holder));
                }
                None => {
                    let deadline = self.now + self.settings.recall;
                    self.recalls.push(Recall { inode, holder, keep, deadline, extended: false });
                    self.tell_recall(self.recalls.len() - 1, self.carriers(inode, holder));
                }
            }
        }
    }

    pub(super) fn tell_recall(&mut self, at: usize, times: usize) {
        let Recall { inode, holder, keep, deadline, .. } = self.recalls[at];
        if self.connected(holder.client) {
            let held = self.held(inode, holder).expect("a lease");
            let told = format!("recall {holder:?} {held:?} {keep:?} {deadline:?}");
            self.said.extend(vec![told; times]);
        }
    }

    /// How many opens carry the lease.
    fn carriers(&self, inode: InodeId, holder: Holder) -> usize {
        let carries = |it: &&Open| it.wish.inode == inode && it.holder == holder && !it.grants.is_empty();
        self.opens.iter().filter(carries).count()
    }

    pub(super) fn revoke(&mut self, inode: InodeId, holder: Holder) {
        let held = self.held(inode, holder);
        if let Some(held) = held {
            let told = format!("revoked {holder:?} {held:?}");
            self.said.extend(vec![told; self.carriers(inode, holder)]);
        }
        for open in self.opens.iter_mut().filter(|it| it.wish.inode == inode && it.holder == holder) {
            open.grants.clear();
        }
        self.end_recalls();
        self.backoff.retain(|it| (it.0, it.1) != (inode, holder.client));
        self.backoff.push((inode, holder.client, self.now + self.settings.backoff));
    }

    /// Those recalls are over of which no more is left than may be kept.
    pub(super) fn end_recalls(&mut self) {
        let over: Vec<bool> =
            self.recalls.iter().map(|it| self.held(it.inode, it.holder) <= it.keep.kind()).collect();
        let mut over = over.into_iter();
        self.recalls.retain(|_| !over.next().expect("one each"));
    }
}
