//! What must hold after every step.

use super::{super::super::*, super::show::shown, kernel::FakeKernel};

/// No two holders exclude each other.
pub(super) fn assert_safe(table: &Table) {
    for inode in table.inodes() {
        let shown = shown(table, inode);
        let holder = |open: OpenId| table.opens[&open].holder();
        for (at, one) in shown.opens.iter().enumerate() {
            for other in shown.opens[at + 1..].iter().filter(|it| holder(it.open) != holder(one.open)) {
                let meets =
                    |a: Access, d: Deny| (a.reads() && d.denies_read()) || (a.writes() && d.denies_write());
                assert!(
                    !meets(one.access, other.deny) && !meets(other.access, one.deny),
                    "{one:?} {other:?}"
                );
            }
        }
        for leased in shown.opens.iter().filter(|it| it.lease.is_some()) {
            let writes = leased.lease.as_ref().is_some_and(|lease| lease.writes > 0);
            for other in shown.opens.iter().filter(|it| holder(it.open) != holder(leased.open)) {
                assert!(!writes && !other.access.writes(), "{leased:?} {other:?}");
            }
        }
        for (at, one) in shown.locks.iter().enumerate() {
            for other in &shown.locks[at + 1..] {
                let same = (one.client, one.owner) == (other.client, other.owner);
                let clash = one.range.overlaps(other.range) && (same || one.kind.conflicts(other.kind));
                assert!(!clash, "{one:?} {other:?}");
            }
        }
    }
}

/// Each open counts the locks that end with it.
pub(super) fn assert_counted(table: &Table) {
    for (id, open) in &table.opens {
        let mut counted = std::collections::BTreeMap::new();
        for lock in shown(table, open.inode).locks.iter().filter(|lock| lock.open == *id) {
            *counted.entry(lock.owner).or_default() += 1;
        }
        assert_eq!(open.owners, counted, "{id:?}");
    }
}

/// The kernel holds what the table says it does, and nothing else.
pub(super) fn assert_held(table: &Table, kernel: &FakeKernel) {
    let mut bytes = std::collections::BTreeMap::new();
    for inode in super::FILES {
        let Some(found) = table.inodes.get(&inode) else { continue };
        let shown = shown(table, inode);
        if !kernel.leases_asked(inode) {
            assert_eq!(kernel.lease.get(&inode).copied(), found.lease.held);
            let kind = |it: &ShownLease| if it.writes > 0 { LeaseKind::Write } else { LeaseKind::Read };
            let strongest = shown.opens.iter().filter_map(|it| it.lease.as_ref().map(kind)).max();
            assert!(found.lease.held <= strongest, "kept for nobody");
        }
        if !kernel.denies_asked(inode) {
            assert_eq!(kernel.deny.get(&inode).copied().unwrap_or_default(), found.deny.held);
            let all = shown.opens.iter().fold(Deny::None, |all, it| all.union(it.deny));
            assert!(all.contains(found.deny.held), "kept for nobody");
        }
        for lock in shown.locks.iter().filter(|it| !it.advisory) {
            let owner = Owner { client: lock.client, number: lock.owner };
            bytes.extend((lock.range.start()..=lock.range.last()).map(|at| ((inode, owner, at), lock.kind)));
        }
    }
    let settled = |key: &&(InodeId, Owner, u64)| !kernel.is_asked(key.0, key.1, key.2);
    let advisory = |key: &(InodeId, Owner, u64)| {
        table.inodes.get(&key.0).is_some_and(|it| it.ranges.is_advisory(key.1, Range::between(key.2, key.2)))
    };
    for key in bytes.keys().chain(kernel.bytes.keys()).filter(settled).filter(|key| !advisory(key)) {
        assert_eq!(kernel.bytes.get(key), bytes.get(key), "{key:?}");
    }
}
