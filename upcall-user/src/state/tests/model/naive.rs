//! The rules over plain lists, each looked through from end to end.

use std::time::Instant;

use super::{
    super::super::{open::Claim, request::What, schedule::Due, *},
    lists::{Ask, Asked, Byte, Client, File, Open, Recall, Request},
};

pub(super) struct Naive {
    pub(super) settings: Settings,
    pub(super) reclaim_until: Option<Instant>,
    pub(super) now: Instant,
    pub(super) numbers: u64,
    pub(super) clients: Vec<Client>,
    pub(super) opens: Vec<Open>,
    pub(super) recalls: Vec<Recall>,
    pub(super) bytes: Vec<Byte>,
    pub(super) requests: Vec<Request>,
    pub(super) asks: Vec<Ask>,
    pub(super) files: Vec<File>,
    pub(super) backoff: Vec<(InodeId, ClientId, Instant)>,
    pub(super) contended: Vec<(InodeId, Owner, Instant)>,
    /// What is told and asked, as text without what may differ.
    pub(super) said: Vec<String>,
}

impl Naive {
    pub(super) fn new(settings: Settings, reclaim_until: Option<Instant>, now: Instant) -> Self {
        let file = |id| File { id, held: None, denied: Deny::None, breaking: None };
        Self {
            settings,
            reclaim_until,
            now,
            numbers: 0,
            clients: Vec::new(),
            opens: Vec::new(),
            recalls: Vec::new(),
            bytes: Vec::new(),
            requests: Vec::new(),
            asks: Vec::new(),
            files: super::FILES.map(file).into(),
            backoff: Vec::new(),
            contended: Vec::new(),
            said: Vec::new(),
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn file(&mut self, id: InodeId) -> &mut File {
        self.files.iter_mut().find(|file| file.id == id).expect("a file")
    }

    pub(super) fn connected(&self, id: ClientId) -> bool {
        self.clients.iter().any(|client| client.id == id && client.connection.is_some())
    }

    pub(super) fn open_of(&self, client: ClientId, id: OpenId) -> Result<&Open, Refusal> {
        if !self.connected(client) {
            return Err(Refusal::NotBegun);
        }
        self.opens.iter().find(|open| open.id == id && open.holder.client == client).ok_or(Refusal::NotOpen)
    }

    pub(super) fn open(&mut self, id: OpenId) -> &mut Open {
        self.opens.iter_mut().find(|open| open.id == id).expect("an open")
    }

    pub(super) fn in_grace(&self) -> bool {
        self.reclaim_until.is_some_and(|until| until > self.now)
    }

    /// The strongest lease of a holder.
    pub(super) fn held(&self, inode: InodeId, holder: Holder) -> Option<LeaseKind> {
        let own = self.opens.iter().filter(|open| open.wish.inode == inode && open.holder == holder);
        own.flat_map(|open| open.grants.iter().map(|grant| grant.kind)).max()
    }

    pub(super) fn holders(&self, inode: InodeId) -> Vec<Holder> {
        let mut holders: Vec<_> =
            self.opens.iter().filter(|open| open.wish.inode == inode).map(|open| open.holder).collect();
        holders.sort();
        holders.dedup();
        holders
    }

    pub(super) fn advance(&mut self, now: Instant) {
        self.now = now;
        let mut touched = std::collections::BTreeSet::new();
        loop {
            let recalls = self.recalls.iter().map(|it| (it.deadline, Due::Recall(it.inode, it.holder)));
            let claim = |it: &Open| Some((it.until?, Due::Claim(it.holder.client, it.connection)));
            let claims = self.opens.iter().filter_map(claim);
            let backoff = self.backoff.iter().map(|it| (it.2, Due::Backoff(it.0, it.1)));
            let contended = self.contended.iter().map(|it| (it.2, Due::Contention(it.0, it.1)));
            let all = recalls.chain(claims).chain(backoff).chain(contended);
            let Some((_, due)) = all.filter(|(at, _)| *at <= now).min() else { break };
            match due {
                Due::Recall(inode, holder) => {
                    self.revoke(inode, holder);
                    touched.insert(inode);
                }
                Due::Claim(client, connection) => {
                    let lapses = |it: &&Open| {
                        (it.holder.client, it.connection) == (client, connection) && it.until.is_some()
                    };
                    let open = self.opens.iter().filter(lapses).map(|it| it.id).min().expect("an open");
                    touched.insert(self.close(open));
                }
                Due::Backoff(inode, client) => {
                    self.backoff.retain(|it| (it.0, it.1) != (inode, client));
                    touched.insert(inode);
                    self.end_if_gone(client);
                }
                Due::Contention(inode, owner) => self.contention_over(inode, owner),
                Due::Reclaimed(_) | Due::Settle(_) => unreachable!("done at once"),
            }
        }
        touched.into_iter().for_each(|inode| self.settle(inode));
    }

    pub(super) fn begin(&mut self, identity: Identity, connection: Connection) -> ClientId {
        if let Some(known) = self.clients.iter().find(|it| it.identity == identity)
            && let (id, Some(old)) = (known.id, known.connection)
        {
            self.said.push(format!("disconnect {old:?}"));
            self.disconnect(id);
        }
        if let Some(known) = self.clients.iter_mut().find(|it| it.identity == identity) {
            known.connection = Some(connection);
            return known.id;
        }
        let id = ClientId(self.number());
        self.clients.push(Client { id, identity, connection: Some(connection), claims: Some(Vec::new()) });
        id
    }

    pub(super) fn disconnect(&mut self, id: ClientId) {
        let Some(client) = self.clients.iter_mut().find(|it| it.id == id && it.connection.is_some()) else {
            return;
        };
        client.connection = None;
        client.claims = Some(Vec::new());
        let inodes: std::collections::BTreeSet<_> =
            self.requests.iter().filter(|it| it.client == id).map(|it| it.inode).collect();
        for request in self.requests.extract_if(.., |it| it.client == id).collect::<Vec<_>>() {
            self.orphan(request.id);
        }
        let until = self.now + self.settings.grace;
        for open in self.opens.iter_mut().filter(|it| it.holder.client == id && it.claim != Claim::Awaited) {
            (open.claim, open.until) = (Claim::Awaited, Some(until));
        }
        inodes.into_iter().for_each(|inode| self.settle(inode));
        self.end_if_gone(id);
    }

    fn orphan(&mut self, id: RequestId) {
        for ask in self.asks.iter_mut().filter(|ask| ask.request == Some(id)) {
            ask.request = None;
        }
    }

    pub(super) fn end_if_gone(&mut self, id: ClientId) {
        let keeps =
            self.opens.iter().any(|it| it.holder.client == id) || self.backoff.iter().any(|it| it.1 == id);
        self.clients.retain(|it| it.id != id || it.connection.is_some() || keeps);
    }

    /// Its file is to be settled.
    pub(super) fn close(&mut self, id: OpenId) -> InodeId {
        let (client, inode) = (self.open(id).holder.client, self.open(id).wish.inode);
        for request in self.requests.clone() {
            let of = match request.what {
                What::Open(_) => None,
                What::Change(it) => Some(it.open),
                What::Lease(it) => Some(it.open),
                What::Lock(it) => Some(it.open),
            };
            if of == Some(id) {
                self.orphan(request.id);
                self.finish(request.id, &Err(Refusal::Released));
            }
        }
        self.open(id).grants.clear();
        self.end_recalls();
        for byte in self.bytes.extract_if(.., |byte| byte.open == id).collect::<Vec<_>>() {
            self.owner_changed(inode, byte.owner);
        }
        self.opens.retain(|open| open.id != id);
        self.end_if_gone(client);
        inode
    }

    pub(super) fn finish(&mut self, id: RequestId, answer: &Result<Granted, Refusal>) {
        self.requests.retain(|it| it.id != id);
        self.said.push(format!("answer {id:?} {}", super::said::plain(answer)));
    }

    pub(super) fn cancel(&mut self, client: ClientId, id: RequestId) -> Result<(), Refusal> {
        if !self.connected(client) {
            return Err(Refusal::NotBegun);
        }
        let request = self.requests.iter().find(|it| it.id == id && it.client == client);
        let inode = request.ok_or(Refusal::NotWaiting)?.inode;
        if !self.asks.iter().any(|ask| ask.request == Some(id) && matches!(ask.asked, Asked::Range(..))) {
            self.orphan(id);
            self.finish(id, &Err(Refusal::Cancelled));
            self.settle(inode);
        }
        Ok(())
    }

    pub(super) fn answered(&mut self, id: AskId, answer: &Kernel) {
        let Some(at) = self.asks.iter().position(|ask| ask.id == id) else { return };
        let Ask { inode, asked, request, .. } = self.asks.remove(at);
        let request = request.and_then(|id| self.requests.iter().position(|it| it.id == id));
        let held = *answer == Kernel::Held;
        match asked {
            Asked::Lease(kind) if held => self.file(inode).held = Some(kind),
            Asked::Deny(deny) if held => self.file(inode).denied = deny,
            Asked::Range(owner, range, kind) if held && request.is_none() => {
                for byte in self.bytes.iter_mut().filter(|it| (it.inode, it.owner) == (inode, owner)) {
                    if range.start() <= byte.at && byte.at <= range.last() {
                        byte.kind = byte.kind.min(kind);
                    }
                }
            }
            _ => {}
        }
        if let Asked::Range(owner, ..) = asked {
            self.owner_changed(inode, owner);
        }
        if let Some(at) = request {
            let Request { id, what, .. } = self.requests[at].clone();
            let advisory_ok = match what {
                What::Open(it) => it.advisory_ok,
                What::Change(it) => self.open(it.open).wish.advisory_ok,
                What::Lease(it) => it.advisory_ok,
                What::Lock(it) => it.advisory_ok,
            };
            let advisory = *answer == Kernel::Unsupported && advisory_ok;
            match what {
                What::Lock(lock) if held || advisory => {
                    self.set_lock(inode, self.requests[at].client, &lock, advisory);
                    self.finish(id, &Ok(Granted::Locked { advisory }));
                }
                _ if held => {}
                _ if advisory => self.requests[at].advisory = true,
                _ => {
                    let refusal = match answer {
                        Kernel::Refused(_) => Refusal::LocalConflict(Who::Unknown),
                        Kernel::Unsupported => Refusal::Unsupported,
                        _ => Refusal::Cancelled,
                    };
                    self.finish(id, &Err(refusal));
                }
            }
        }
        self.settle(inode);
    }

    pub(super) fn submit(&mut self, client: ClientId, inode: InodeId, what: What) -> Reply {
        let id = RequestId(self.number());
        let request = Request { id, client, inode, what, advisory: false, recheck: false };
        let reply = match self.attempt(&request, true) {
            Some(answer) => Reply::Now(answer),
            None => {
                self.requests.push(request);
                Reply::Later(id)
            }
        };
        self.settle(inode);
        reply
    }

    pub(super) fn settle(&mut self, inode: InodeId) {
        loop {
            let is_lock = |request: &Request| matches!(request.what, What::Lock(_));
            let mut all: Vec<_> = self.requests.iter().filter(|it| it.inode == inode).cloned().collect();
            all.sort_by_key(|it| (is_lock(it), it.id));
            let mut granted = false;
            for request in all {
                let asked = self.asks.iter().any(|ask| ask.request == Some(request.id));
                if is_lock(&request) && asked {
                    continue;
                }
                let Some(current) = self.requests.iter_mut().find(|it| it.id == request.id) else { continue };
                let request = Request { recheck: std::mem::take(&mut current.recheck), ..request };
                if let Some(answer) = self.attempt(&request, false) {
                    granted |= answer.is_ok();
                    self.orphan(request.id);
                    self.finish(request.id, &answer);
                }
            }
            if !granted {
                break;
            }
        }
        let strongest = self.holders(inode).into_iter().filter_map(|holder| self.held(inode, holder)).max();
        let denies = self.opens.iter().filter(|it| it.wish.inode == inode).map(|it| it.wish.deny);
        let denied = denies.fold(Deny::None, Deny::union);
        let asking = |naive: &Self, such: fn(&Asked) -> bool| {
            naive.asks.iter().any(|ask| ask.inode == inode && such(&ask.asked))
        };
        let (lease, deny) = (
            asking(self, |it| matches!(it, Asked::Lease(_))),
            asking(self, |it| matches!(it, Asked::Deny(_))),
        );
        let file = self.file(inode);
        if !lease {
            file.held = file.held.min(strongest);
            file.breaking = file.breaking.filter(|keep| file.held > keep.kind());
        }
        if !deny {
            file.denied = file.denied.intersection(denied);
        }
        // Nothing is known of a file any more that nobody has or waits for.
        let busy = self.opens.iter().any(|it| it.wish.inode == inode)
            || self.asks.iter().any(|it| it.inode == inode)
            || self.requests.iter().any(|it| it.inode == inode)
            || self.backoff.iter().any(|it| it.0 == inode);
        if !busy {
            self.contended.retain(|it| it.0 != inode);
        }
    }
}
