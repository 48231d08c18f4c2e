//! No client and no inode has more than it may.

use super::*;

const SHARE: Share = Share { opens: 100, leases: 100, locks: 100, waiting: 100 };

fn rig(client: Share, inode: Share) -> Rig {
    Rig::with(Settings {
        limits: Limits { clients: 3, client, inode, ..Limits::default() },
        ..Settings::default()
    })
}

/// The limit by client, then the one by inode.
fn both(share: Share) -> [Rig; 2] {
    [rig(share, SHARE), rig(SHARE, share)]
}

#[test]
fn clients() {
    let mut rig = rig(SHARE, SHARE);
    for name in ["ann", "bob", "cat"] {
        rig.begin(name);
    }
    let refused = rig.table.begin(Identity([9; 16]), 1, "dan", Connection(9), rig.now);
    assert_eq!(refused, Err(Refusal::TooManyClients));
    rig.begin("cat");
}

#[test]
fn opens() {
    for mut rig in both(Share { opens: 2, ..SHARE }) {
        let ann = rig.begin("ann");
        let first = rig.open(ann, 1, Access::Read);
        rig.open(ann, 1, Access::Read);
        assert_eq!(rig.try_open(ann, 1, Access::Read, Deny::None), Err(Refusal::TooManyOpens));
        rig.table.close(ann, first, rig.now).expect("closed");
        rig.open(ann, 1, Access::Read);
    }
}

#[test]
fn leases() {
    for mut rig in both(Share { leases: 2, ..SHARE }) {
        let (ann, open) = rig.holder("ann", R);
        rig.lease(ann, open, R);
        assert_eq!(rig.try_lease(ann, open, R), Err(Refusal::TooManyLeases));
        rig.give_back(ann, open, R, Keep::None).expect("returned");
        rig.lease(ann, open, R);
    }
}

#[test]
fn locks() {
    for mut rig in both(Share { locks: 4, ..SHARE }) {
        let ann = rig.locker("ann");
        for start in [0, 10, 20] {
            rig.lock(ann, start, 5, LockKind::Write);
        }
        assert_eq!(rig.try_lock(ann, 30, 1, LockKind::Write), Reply::Now(Err(Refusal::TooManyLocks)));
        let unlock =
            |rig: &mut Rig, start, length| rig.table.unlock(ann.0, ann.1, 1, range(start, length), rig.now);
        unlock(&mut rig, 2, 1).expect("one more is left");
        assert_eq!(unlock(&mut rig, 12, 1), Err(Refusal::TooManyLocks));
        unlock(&mut rig, 10, 2).expect("no more are left");
        unlock(&mut rig, 0, 0).expect("none is left");
        assert_eq!(rig.table.census().locks, 0);
    }
}

#[test]
fn waiting() {
    for mut rig in both(Share { waiting: 1, ..SHARE }) {
        let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
        rig.lock(ann, 0, 0, LockKind::Write);
        let first = rig.blocked(bob, 0, 1, LockKind::Write);
        let second = lock_request(bob.1, 5, 1, LockKind::Write, true);
        assert_eq!(rig.table.lock(bob.0, second, rig.now), Reply::Now(Err(Refusal::TooManyWaiting)));
        rig.effects();
        rig.table.cancel(bob.0, first, rig.now).expect("cancelled");
        rig.blocked(bob, 5, 1, LockKind::Write);
    }
}

#[test]
fn a_call_keeps_a_bounded_number_of_appointments() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    for _ in 0..3_000 {
        rig.open(ann, 1, Access::Read);
    }
    rig.disconnect(ann);
    rig.pass(secs(15));
    let left = rig.table.census().opens;
    assert!(0 < left && left < 3_000, "{left}");
    while rig.table.next_deadline().is_some_and(|next| next <= rig.now) {
        rig.table.expire(rig.now);
    }
    rig.assert_nothing_left();
}
