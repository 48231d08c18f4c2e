//! Scenarios that GlusterFS's own tests know.

use super::*;

#[test]
fn read_is_refused_while_another_id_may_write_and_granted_after_that_closes() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let writer = rig.open(ann, 1, Access::Both);
    let reader = rig.open(bob, 1, Access::Read);
    assert_eq!(rig.try_lease(bob, reader, R), Err(Refusal::Conflict(client("ann"))));
    rig.table.close(ann, writer, rig.now).expect("closed");
    rig.lease(bob, reader, R);
}

#[test]
fn opens_under_one_id_never_conflict() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let first = rig.open(ann, 1, Access::Both);
    let second = rig.open(ann, 1, Access::Both);
    rig.lease(ann, first, R);
    rig.lease(ann, second, W);
    rig.open(ann, 1, Access::Write);
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn each_grant_takes_its_own_return() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Both);
    for kind in [W, W, R] {
        rig.lease(ann, open, kind);
    }
    let bob = rig.begin("bob");
    for kind in [W, W, R] {
        assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
        rig.give_back(ann, open, kind, Keep::None).expect("returned");
    }
    rig.open(bob, 1, Access::Write);
}

#[test]
fn an_open_that_only_reads_cannot_carry_write() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Read);
    assert_eq!(rig.try_lease(ann, open, W), Err(Refusal::NotCarried));
}

#[test]
fn two_clients_both_hold_read() {
    let mut rig = Rig::new();
    rig.holder("ann", R);
    rig.holder("bob", R);
    assert_eq!(rig.table.census().leases, 2);
}

#[test]
fn read_against_write_fails_at_once_and_the_holder_is_recalled() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let (first, second) = (rig.open(ann, 1, Access::Both), rig.open(bob, 1, Access::Read));
    // Bob's open is there before, so that only his lease conflicts.
    rig.table.close(bob, second, rig.now).expect("closed");
    rig.lease(ann, first, W);
    let change = rig.table.open(bob, open_request(1, Access::Read, Deny::None), rig.now);
    assert_eq!(change, Reply::Now(Err(Refusal::Recalling)));
    let effects = rig.upcalls();
    let deadline = rig.now + secs(60);
    let recall = Effect::Recall {
        client: ann,
        open: first,
        cookie: 5,
        lease_id: LeaseId([1; 16]),
        held: W,
        keep: Keep::Read,
        deadline,
        who: client("bob"),
    };
    assert_eq!(effects, [recall]);
}

#[test]
fn unlocking_twice_succeeds_and_the_wrong_kind_does_not() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    assert_eq!(rig.give_back(ann, open, R, Keep::None), Err(Refusal::NotHeld));
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    rig.give_back(ann, open, W, Keep::None).expect("returned already");
    assert_eq!(rig.give_back(ann, open, R, Keep::None), Err(Refusal::NotHeld));
    assert_eq!(rig.table.census().leases, 0);
}

#[test]
fn the_lease_of_one_who_disconnects_is_gone_after_grace() {
    let mut rig = Rig::new();
    let (ann, _) = rig.holder("ann", R);
    let bob = rig.begin("bob");
    rig.disconnect(ann);
    rig.pass(secs(14));
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    rig.pass(secs(1));
    rig.open(bob, 1, Access::Write);
}

#[test]
fn a_purge_races_with_a_return() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    rig.effects();
    rig.pass(secs(60));
    assert_eq!(revoked(&rig.upcalls()), [ann]);
    // Sent before the client heard of it.
    rig.give_back(ann, open, W, Keep::None).expect("given up already");
    rig.open(bob, 1, Access::Write);
}

#[test]
fn contention_is_told_once_a_while_and_not_after_release() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, LockKind::Write);
    rig.effects();
    for _ in 0..3 {
        let reply = rig.try_lock(bob, 0, 1, LockKind::Read);
        assert_eq!(reply, Reply::Now(Err(Refusal::Conflict(client("ann")))));
    }
    assert_eq!(contentions(&rig.upcalls()), [ann.0]);
    rig.pass(secs(5));
    assert_eq!(rig.upcalls(), []);
    let _ = rig.try_lock(bob, 0, 1, LockKind::Read);
    assert_eq!(contentions(&rig.upcalls()), [ann.0]);
    rig.unlock(ann, 0, 0);
    rig.lock(bob, 0, 1, LockKind::Read);
    rig.pass(secs(60));
    assert_eq!(contentions(&rig.upcalls()), []);
}

#[test]
fn a_conflicting_open_completes() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let bob = rig.begin("bob");
    let wish = OpenRequest { wait: true, ..open_request(1, Access::Both, Deny::None) };
    let Reply::Later(request) = rig.table.open(bob, wish, rig.now) else { panic!("does not wait") };
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::None)]);
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    let answers = answers(&rig.upcalls());
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].0, request);
    opened(answers[0].1.clone()).expect("an open");
}
