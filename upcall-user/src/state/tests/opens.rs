//! Share reservations.

use super::*;

const ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Both];
const DENIES: [Deny; 4] = [Deny::None, Deny::Read, Deny::Write, Deny::Both];

#[test]
fn an_access_meets_a_deny_or_does_not_as_in_the_table_of_nfs() {
    let meets = |access: Access, deny: Deny| {
        (access.reads() && deny.denies_read()) || (access.writes() && deny.denies_write())
    };
    for (a, d) in ACCESSES.into_iter().flat_map(|a| DENIES.map(|d| (a, d))) {
        for (b, e) in ACCESSES.into_iter().flat_map(|b| DENIES.map(|e| (b, e))) {
            let mut rig = Rig::new();
            let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
            rig.try_open(ann, 1, a, d).expect("the first");
            let second = rig.try_open(bob, 1, b, e);
            let expected = meets(a, e) || meets(b, d);
            assert_eq!(
                second.err(),
                expected.then(|| Refusal::Conflict(client("ann"))),
                "{a:?} {d:?} {b:?} {e:?}"
            );
        }
    }
}

#[test]
fn opens_of_one_client_and_lease_id_do_not_conflict_and_those_of_another_id_do() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    rig.try_open(ann, 1, Access::Both, Deny::Both).expect("the first");
    rig.try_open(ann, 1, Access::Both, Deny::Both).expect("under the same id");
    let other = rig.try_open(ann, 2, Access::Read, Deny::None);
    assert_eq!(other, Err(Refusal::Conflict(client("ann"))));
}

#[test]
fn an_equal_lease_id_of_another_client_is_another_one() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    rig.try_open(ann, 1, Access::Both, Deny::Both).expect("the first");
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Conflict(client("ann"))));
}

#[test]
fn a_closed_open_denies_nothing() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let open = opened(rig.try_open(ann, 1, Access::Read, Deny::Write)).expect("the first");
    rig.table.close(ann, open, rig.now).expect("closed");
    rig.open(bob, 1, Access::Write);
    assert_eq!(rig.table.close(ann, open, rig.now), Err(Refusal::NotOpen));
}

#[test]
fn nobody_closes_what_another_client_has_open() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let open = rig.open(ann, 1, Access::Read);
    assert_eq!(rig.table.close(bob, open, rig.now), Err(Refusal::NotOpen));
    assert_eq!(rig.table.census().opens, 1);
}

#[test]
fn an_upgrade_is_checked_as_an_open_and_a_downgrade_lets_others_in() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let first = rig.open(ann, 1, Access::Both);
    let second = rig.open(bob, 1, Access::Read);
    let change = |open, access, deny| ChangeRequest { open, access, deny };
    let reply = rig.table.change(bob, change(second, Access::Read, Deny::Write), rig.now);
    assert_eq!(rig.finished(reply), Err(Refusal::Conflict(client("ann"))));
    let reply = rig.table.change(ann, change(first, Access::Read, Deny::None), rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Changed { advisory: false }));
    let reply = rig.table.change(bob, change(second, Access::Read, Deny::Write), rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Changed { advisory: false }));
    let reply = rig.table.change(ann, change(first, Access::Both, Deny::None), rig.now);
    assert_eq!(rig.finished(reply), Err(Refusal::Conflict(client("bob"))));
}

#[test]
fn an_open_keeps_the_access_that_its_lease_needs() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let change = ChangeRequest { open, access: Access::Read, deny: Deny::None };
    let reply = rig.table.change(ann, change, rig.now);
    assert_eq!(rig.finished(reply), Err(Refusal::Carries));
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    let reply = rig.table.change(ann, change, rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Changed { advisory: false }));
}

#[test]
fn an_upgrade_that_meets_a_lease_recalls_it() {
    let mut rig = Rig::new();
    let bob = rig.begin("bob");
    let open = rig.open(bob, 1, Access::Read);
    let (ann, _) = rig.holder("ann", R);
    let change = ChangeRequest { open, access: Access::Both, deny: Deny::None };
    assert_eq!(rig.table.change(bob, change, rig.now), Reply::Now(Err(Refusal::Recalling)));
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::None)]);
}

#[test]
fn an_open_of_who_may_not_write_is_not_widened_to_writing() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let request = OpenRequest { writable: false, ..open_request(1, Access::Read, Deny::None) };
    let reply = rig.table.open(ann, request, rig.now);
    let open = opened(rig.answer(reply)).expect("an open");
    for access in [Access::Write, Access::Both] {
        let change = ChangeRequest { open, access, deny: Deny::None };
        assert_eq!(rig.table.change(ann, change, rig.now), Reply::Now(Err(Refusal::NotPermitted)));
    }
    assert_eq!(rig.try_lease(ann, open, W), Err(Refusal::NotCarried));
    let change = ChangeRequest { open, access: Access::Read, deny: Deny::Write };
    let reply = rig.table.change(ann, change, rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Changed { advisory: false }));
}

#[test]
fn an_open_keeps_the_access_that_its_locks_need() {
    let mut rig = Rig::new();
    let (ann, open) = rig.locker("ann");
    rig.lock((ann, open), 0, 1, LockKind::Write);
    let change = |rig: &mut Rig, access| {
        let reply = rig.table.change(ann, ChangeRequest { open, access, deny: Deny::None }, rig.now);
        rig.finished(reply)
    };
    assert_eq!(change(&mut rig, Access::Read), Err(Refusal::Carries));
    assert!(change(&mut rig, Access::Write).is_ok());
    assert!(change(&mut rig, Access::Both).is_ok());
    rig.unlock((ann, open), 0, 1);
    rig.effects();
    // One that the kernel is being asked for counts as well.
    rig.kernel = None;
    let reply = rig.try_lock((ann, open), 0, 1, LockKind::Write);
    assert!(matches!(reply, Reply::Later(_)));
    assert_eq!(change(&mut rig, Access::Read), Err(Refusal::Carries));
}
