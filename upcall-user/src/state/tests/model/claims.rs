//! What a client that has come back knows of, over the lists.

use super::{
    super::super::{open::Claim, *},
    lists::{Asked, Byte},
    naive::Naive,
};

impl Naive {
    pub(super) fn claim_lock(&mut self, client: ClientId, inode: InodeId, lock: &LockRequest) {
        let LockRequest { kind, open, range, .. } = *lock;
        let owner = Owner { client, number: lock.owner };
        if self.open(open).claim == Claim::Fresh {
            return;
        }
        let most = self.settings.limits.client.locks;
        let by = self.clients.iter_mut().find(|it| it.id == client).expect("a client");
        let Some(claims) = &mut by.claims else { return };
        for at in range.start()..=range.last() {
            claims.retain(|it| (it.inode, it.owner, it.at) != (inode, owner, at));
            claims.push(Byte { inode, owner, at, kind, open, advisory: false });
        }
        if super::lock_rules::ranges(claims, |_| true) > most {
            by.claims = None;
        }
    }

    pub(super) fn carry(&mut self, client: ClientId, inode: InodeId, lock: &LockRequest) {
        let owner = Owner { client, number: lock.owner };
        let access = self.open(lock.open).wish.access;
        let theirs = self.bytes.iter_mut().filter(|it| (it.inode, it.owner) == (inode, owner));
        theirs
            .filter(|it| lock.range.start() <= it.at && it.at <= lock.range.last() && access.locks(it.kind))
            .for_each(|byte| byte.open = lock.open);
    }

    pub(super) fn call_reclaimed(&mut self, client: ClientId) -> Result<(), Refusal> {
        if !self.connected(client) {
            return Err(Refusal::NotBegun);
        }
        let mut touched = std::collections::BTreeSet::new();
        let of = |naive: &Self, claim| -> Vec<OpenId> {
            let such = naive.opens.iter().filter(|it| it.holder.client == client && it.claim == claim);
            such.map(|it| it.id).collect()
        };
        for open in of(self, Claim::Awaited) {
            touched.insert(self.close(open));
        }
        for id in of(self, Claim::Reclaimed) {
            let open = self.open(id);
            touched.insert(open.wish.inode);
            open.grants.retain(|grant| grant.claimed);
            open.claim = Claim::Fresh;
            self.end_recalls();
            self.drop_unclaimed_bytes(client, id);
        }
        let by = self.clients.iter_mut().find(|it| it.id == client).expect("a client");
        by.claims = Some(Vec::new());
        touched.into_iter().for_each(|inode| self.settle(inode));
        Ok(())
    }

    fn drop_unclaimed_bytes(&mut self, client: ClientId, open: OpenId) {
        let by = self.clients.iter().find(|it| it.id == client).expect("a client");
        let Some(claims) = by.claims.clone() else { return };
        for byte in self.bytes.iter().filter(|it| it.open == open).copied().collect::<Vec<_>>() {
            let key = |it: &Byte| (it.inode, it.owner, it.at);
            let asking = self.asks.iter().any(|ask| match ask.asked {
                Asked::Range(by, range, _) => {
                    (ask.inode, by) == (byte.inode, byte.owner)
                        && range.start() <= byte.at
                        && byte.at <= range.last()
                }
                _ => false,
            });
            match claims.iter().find(|it| key(it) == key(&byte)) {
                None => self.bytes.retain(|it| key(it) != key(&byte)),
                Some(claim) if claim.kind < byte.kind && !asking => {
                    let known = self.bytes.iter_mut().find(|it| key(it) == key(&byte));
                    known.expect("the byte").kind = claim.kind;
                }
                Some(_) => continue,
            }
            self.owner_changed(byte.inode, byte.owner);
        }
    }
}
