//! What this client holds. Pure logic.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use upcall_common::wire::{
    Access, Code, Deny, Identity, Keep, LeaseKind, LockGranted, LockKind, OpenGranted, StateUpcall, Terms,
};

use super::locks::Locks;
use super::ranges::Range;
use super::{Begun, Held, OpenRequest, Opened, StateNotice};
use crate::error::ItemError;

/// By ids of our own, which stay; the daemon may number opens anew after a reconnection.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    begun: Option<(Identity, Begun)>,
    latest: u64,
    opens: BTreeMap<u64, Open>,
    by_number: HashMap<u64, u64>,
    locks: Locks,
    /// By the daemon's number, of this connection.
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Open {
    request: OpenRequest,
    /// The daemon's, of this connection or an earlier one.
    number: u64,
    reads: u32,
    writes: u32,
}

#[derive(Debug)]
struct Waiting {
    request: u64,
    what: Wanted,
}

/// What is waited for.
#[derive(Debug)]
pub(crate) enum Wanted {
    Open(OpenRequest),
    Lock { cookie: u64, open: u64, range: Range },
}

/// What came of a wait.
struct Granted {
    /// The daemon's, of the open.
    number: u64,
    /// With a lock: not told.
    file: u64,
    held: Held,
}

impl Open {
    fn leases(&mut self, kind: LeaseKind) -> &mut u32 {
        match kind {
            LeaseKind::Read => &mut self.reads,
            LeaseKind::Write => &mut self.writes,
        }
    }
}

impl Holdings {
    pub(crate) fn begin(&mut self, identity: Identity, begun: Begun) {
        self.begun = Some((identity, begun));
    }

    /// The daemon does not know the identity any more: begin anew.
    pub(crate) fn end(&mut self) {
        self.begun = None;
    }

    /// Under which to reclaim; `None`: nothing has begun.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.begun.map(|(identity, _)| identity)
    }

    /// What the daemon has offered last.
    pub(crate) fn begun(&self) -> Option<Begun> {
        self.begun.map(|(_, begun)| begun)
    }

    pub(crate) fn insert(&mut self, request: OpenRequest, number: u64, file: u64) -> u64 {
        let open = self.next();
        self.by_number.insert(number, open);
        self.opens.insert(open, Open { request, number, reads: 0, writes: 0 });
        self.locks.open(open, file);
        open
    }

    /// Forgets an open. Returns its number.
    pub(crate) fn remove(&mut self, open: u64) -> Option<u64> {
        let Open { number, .. } = self.opens.remove(&open)?;
        self.by_number.remove(&number);
        self.locks.close(open);
        Some(number)
    }

    pub(crate) fn number(&self, open: u64) -> Option<u64> {
        self.opens.get(&open).map(|open| open.number)
    }

    pub(crate) fn opens(&self) -> impl Iterator<Item = u64> {
        self.opens.keys().copied()
    }

    pub(crate) fn cookie(&self, open: u64) -> Option<u64> {
        self.opens.get(&open).map(|open| open.request.cookie)
    }

    /// Of what an open carries.
    pub(crate) fn terms(&self, open: u64) -> Terms {
        self.opens.get(&open).map_or_else(Terms::default, |open| open.request.terms())
    }

    /// What to reclaim, and its number.
    pub(crate) fn request(&self, open: u64) -> Option<(&OpenRequest, u64)> {
        self.opens.get(&open).map(|open| (&open.request, open.number))
    }

    pub(crate) fn set_modes(&mut self, open: u64, access: Access, deny: Deny) {
        if let Some(open) = self.opens.get_mut(&open) {
            open.request.set_modes(access, deny);
        }
    }

    /// Nobody knows whether the modes are these or the former ones.
    pub(crate) fn narrow(&mut self, open: u64, access: Access, deny: Deny) {
        let locks = |kind| self.locks.of(open).iter().any(|range| range.kind == kind);
        let (read, write) = (locks(LockKind::Read), locks(LockKind::Write));
        let Some(open) = self.opens.get_mut(&open) else { return };
        let (read, write) = (read || open.reads > 0, write || open.writes > 0);
        // What would not carry them was refused.
        if !(read && access == Access::Write || write && access == Access::Read) {
            open.request.narrow(access, deny);
        }
    }

    pub(crate) fn leased(&mut self, open: u64, kind: LeaseKind) {
        if let Some(open) = self.opens.get_mut(&open) {
            let leases = open.leases(kind);
            *leases = leases.saturating_add(1);
        }
    }

    pub(crate) fn returned(&mut self, open: u64, kind: LeaseKind, keep: Keep) {
        let Some(open) = self.opens.get_mut(&open) else { return };
        let leases = open.leases(kind);
        if *leases == 0 {
            return;
        }
        *leases -= 1;
        if keep == Keep::Read {
            open.reads = open.reads.saturating_add(1);
        }
    }

    /// How many leases of this kind.
    pub(crate) fn leases(&self, open: u64, kind: LeaseKind) -> u32 {
        self.opens.get(&open).map_or(0, |open| match kind {
            LeaseKind::Read => open.reads,
            LeaseKind::Write => open.writes,
        })
    }

    pub(crate) fn lock(&mut self, open: u64, range: Range) {
        self.locks.lock(open, range);
    }

    pub(crate) fn unlock(&mut self, open: u64, owner: u64, start: u64, last: u64) {
        self.locks.unlock(open, owner, start, last);
    }

    /// Nobody knows whether a read lock has taken the place of what the owner had there.
    pub(crate) fn weaken(&mut self, open: u64, range: Range) {
        if range.kind == LockKind::Read {
            self.locks.weaken(open, range.owner, range.start, range.last);
        }
    }

    pub(crate) fn ranges(&self, open: u64) -> Vec<Range> {
        self.locks.of(open)
    }

    /// Notes a request that the daemon calls `number`. Returns our id of it.
    pub(crate) fn wait(&mut self, number: u64, what: Wanted) -> u64 {
        let request = self.next();
        self.waiting.insert(number, Waiting { request, what });
        request
    }

    /// The daemon's number of a request that waits.
    pub(crate) fn waiting(&self, request: u64) -> Option<u64> {
        self.waiting.iter().find(|(_, waiting)| waiting.request == request).map(|(number, _)| *number)
    }

    /// Takes in an upcall. `None`: of something that has been given up.
    pub(crate) fn upcall(&mut self, upcall: StateUpcall) -> Option<StateNotice> {
        match upcall {
            StateUpcall::Recall(recall) => {
                let (open, cookie) = self.named(recall.open)?;
                let deadline = Duration::from_millis(recall.deadline_ms.into());
                let (lease_id, held, keep, who) = (recall.lease_id, recall.held, recall.keep, recall.who);
                Some(StateNotice::Recall { cookie, open, lease_id, held, keep, deadline, who })
            }
            StateUpcall::Revoked(revoked) => {
                let (open, cookie) = self.named(revoked.open)?;
                let held = self.opens.get_mut(&open)?;
                (held.reads, held.writes) = (0, 0);
                let (lease_id, kind) = (revoked.lease_id, revoked.kind);
                Some(StateNotice::Revoked { cookie, open, lease_id, kind })
            }
            StateUpcall::OpenGranted(OpenGranted { request, code, flags, open, file, .. }) => {
                let waiting = self.waiting.remove(&request)?;
                let granted = Granted { number: open, file, held: Held { advisory: flags.advisory } };
                Some(self.ended(waiting, ItemError::check(code).map(|()| granted)))
            }
            StateUpcall::LockGranted(LockGranted { request, code, flags, open, .. }) => {
                let waiting = self.waiting.remove(&request)?;
                let granted = Granted { number: open, file: 0, held: Held { advisory: flags.advisory } };
                Some(self.ended(waiting, ItemError::check(code).map(|()| granted)))
            }
            StateUpcall::Contention(contention) => {
                let (open, cookie) = self.named(contention.open)?;
                let (owner, start, length) = (contention.owner, contention.start, contention.length);
                Some(StateNotice::Contention { cookie, open, owner, start, length, who: contention.who })
            }
        }
    }

    /// The connection is gone, and with it what waited.
    pub(crate) fn disconnect(&mut self) -> Vec<StateNotice> {
        self.by_number.clear();
        let waiting = std::mem::take(&mut self.waiting);
        let released = ItemError { code: Code::Released };
        for waiting in waiting.values() {
            if let Wanted::Lock { open, range, .. } = waiting.what {
                self.weaken(open, range);
            }
        }
        waiting.into_values().map(|waiting| self.ended(waiting, Err(released))).collect()
    }

    /// Takes in that an open is reclaimed.
    pub(crate) fn reclaimed(&mut self, open: u64, number: u64, file: u64) {
        if let Some(held) = self.opens.get_mut(&open) {
            held.number = number;
            self.by_number.insert(number, open);
            self.locks.open(open, file);
        }
    }

    /// An open that cannot be reclaimed.
    pub(crate) fn lose(&mut self, open: u64, code: Code) -> Option<StateNotice> {
        let cookie = self.cookie(open)?;
        self.remove(open);
        Some(StateNotice::OpenLost { cookie, open, error: ItemError { code } })
    }

    /// A lease that cannot be reclaimed.
    pub(crate) fn lose_lease(&mut self, open: u64, kind: LeaseKind, code: Code) -> Option<StateNotice> {
        // Once it is revoked, that has been told.
        if self.leases(open, kind) == 0 {
            return None;
        }
        let cookie = self.cookie(open)?;
        self.returned(open, kind, Keep::None);
        Some(StateNotice::LeaseLost { cookie, open, kind, error: ItemError { code } })
    }

    /// A lock that cannot be reclaimed.
    pub(crate) fn lose_lock(&mut self, open: u64, range: Range, code: Code) -> Option<StateNotice> {
        let cookie = self.cookie(open)?;
        self.locks.drop(open, range.owner, range.start, range.last);
        let (owner, kind, start, length) = (range.owner, range.kind, range.start, range.length());
        Some(StateNotice::LockLost { cookie, open, owner, kind, start, length, error: ItemError { code } })
    }

    fn ended(&mut self, waiting: Waiting, outcome: Result<Granted, ItemError>) -> StateNotice {
        let request = waiting.request;
        match waiting.what {
            Wanted::Open(wanted) => {
                let cookie = wanted.cookie;
                let outcome = outcome.map(|Granted { number, file, held }| Opened {
                    open: self.insert(wanted, number, file),
                    advisory: held.advisory,
                });
                StateNotice::OpenGranted { cookie, request, outcome }
            }
            Wanted::Lock { cookie, open, range } => {
                // Closed meanwhile: the grant went with it.
                let is_open = self.opens.contains_key(&open);
                let outcome = outcome.and_then(|Granted { held, .. }| {
                    self.lock(open, range);
                    if is_open { Ok(held) } else { Err(ItemError { code: Code::Released }) }
                });
                StateNotice::LockGranted { cookie, request, open, owner: range.owner, outcome }
            }
        }
    }

    /// Our id of an open, and its cookie.
    fn named(&self, number: u64) -> Option<(u64, u64)> {
        let open = *self.by_number.get(&number)?;
        Some((open, self.cookie(open)?))
    }

    fn next(&mut self) -> u64 {
        self.latest += 1;
        self.latest
    }
}
