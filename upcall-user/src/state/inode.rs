//! All state of one inode, and what conflicts in it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Access, AskId, ClientId, Deny, Holder, Keep, LeaseKind, LockKind, OpenId, Owner, Range, RequestId,
    lease::Lease, ranges::Ranges, tally::Tally,
};

/// What belongs to one holder.
#[derive(Debug, Default)]
pub(super) struct Holding {
    pub(super) tally: Tally,
    pub(super) opens: BTreeSet<OpenId>,
    pub(super) lease: Lease,
}

/// What the kernel was asked for and has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<T> {
    pub(super) ask: AskId,
    pub(super) wanted: T,
    pub(super) request: RequestId,
}

/// The one lease that stands for those of all clients.
#[derive(Debug, Default)]
pub(super) struct KernelLease {
    pub(super) held: Option<LeaseKind>,
    /// As of when it was taken.
    pub(super) taken_whole: bool,
    pub(super) asked: Option<Asked<LeaseKind>>,
    /// A local process waits until no more than this is left.
    pub(super) breaking: Option<Keep>,
}

impl KernelLease {
    /// Whether it cannot be weakened, only given up.
    pub(super) fn is_whole(&self) -> bool {
        self.taken_whole && self.held.is_some()
    }
}

#[derive(Debug, Default)]
pub(super) struct KernelDeny {
    pub(super) held: Deny,
    pub(super) asked: Option<Asked<Deny>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RangeAsk {
    pub(super) range: Range,
    pub(super) kind: LockKind,
    /// Gone if the request has ended meanwhile.
    pub(super) request: Option<RequestId>,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) tally: Tally,
    pub(super) holders: BTreeMap<Holder, Holding>,
    /// Those of them that have a lease.
    pub(super) leased: BTreeSet<Holder>,
    /// Those of them whose lease is being recalled.
    pub(super) recalled: BTreeSet<Holder>,
    /// Grants of leases.
    pub(super) leases: usize,
    pub(super) lease: KernelLease,
    pub(super) deny: KernelDeny,
    pub(super) ranges: Ranges,
    /// Ranges that the kernel was asked for and has not answered.
    pub(super) asks: BTreeMap<(Owner, AskId), RangeAsk>,
    /// Who has been told of contention, and is not told again for now.
    pub(super) contended: BTreeSet<Owner>,
    /// Who has got a lock since those that wait were tried.
    pub(super) gained: BTreeSet<Owner>,
    /// Requests for opens and leases that wait, in order.
    pub(super) waiting: BTreeSet<RequestId>,
    /// Requests for locks that wait, in order; not those that the kernel was asked for.
    pub(super) blocked: BTreeSet<RequestId>,
    /// Requests that are not answered, in all.
    pub(super) requests: usize,
    /// Clients that get no lease for now.
    pub(super) backoff: BTreeSet<ClientId>,
}

impl Inode {
    pub(super) fn is_empty(&self) -> bool {
        self.tally.opens == 0
            && self.asks.is_empty()
            && self.lease.asked.is_none()
            && self.deny.asked.is_none()
            && self.requests == 0
            && self.backoff.is_empty()
    }

    /// What others than `holder` have open.
    pub(super) fn others(&self, holder: Holder) -> Tally {
        self.tally.without(self.holders.get(&holder).map(|holding| holding.tally).unwrap_or_default())
    }

    /// Somebody else whose opens are such.
    pub(super) fn other(&self, holder: Holder, such: impl Fn(&Tally) -> bool) -> Option<Holder> {
        self.holders
            .iter()
            .find(|(other, holding)| **other != holder && such(&holding.tally))
            .map(|(it, _)| *it)
    }

    pub(super) fn lease(&self, holder: Holder) -> Option<&Lease> {
        self.holders.get(&holder).map(|holding| &holding.lease)
    }

    fn kind(&self, holder: Holder) -> Option<LeaseKind> {
        self.lease(holder).and_then(Lease::kind)
    }

    /// The strongest lease of any client.
    pub(super) fn strongest(&self) -> Option<LeaseKind> {
        // Beside a lease to write there is none of another holder.
        self.leased.first().and_then(|holder| self.kind(*holder))
    }

    /// Somebody else whose lease exceeds `keep`.
    pub(super) fn lease_in_the_way(&self, holder: Holder, keep: Keep) -> Option<Holder> {
        #[cfg(feature = "sabotage")]
        if crate::sabotage::overlooks_lease() {
            return None;
        }
        // Beside a lease to write there is none of another holder: the first two tell of all.
        let exceeds = |other: &&Holder| **other != holder && !keep.allows(self.kind(**other));
        self.leased.iter().take(2).find(exceeds).copied()
    }

    /// Whose leases exceed `keep`.
    pub(super) fn exceeding(&self, keep: Keep, but: impl Fn(Holder) -> bool) -> Vec<Holder> {
        let exceeds = |holder: &&Holder| !but(**holder) && !keep.allows(self.kind(**holder));
        self.leased.iter().filter(exceeds).copied().collect()
    }

    /// What an open of that access leaves to leases of others.
    pub(super) const fn leaves(access: Access) -> Keep {
        if access.writes() { Keep::None } else { Keep::Read }
    }

    /// Whether the kernel is being asked for something of this owner's there, of which the outcome has to be known first.
    pub(super) fn is_asking(&self, owner: Owner, range: Range) -> bool {
        self.asking(owner, range).next().is_some()
    }

    pub(super) fn asking(&self, owner: Owner, range: Range) -> impl Iterator<Item = &RangeAsk> {
        self.asks_of(owner).filter(move |ask| ask.range.overlaps(range))
    }

    pub(super) fn asks_of(&self, owner: Owner) -> impl Iterator<Item = &RangeAsk> {
        self.asks.range((owner, AskId(0))..=(owner, AskId(u64::MAX))).map(|(_, ask)| ask)
    }
}
