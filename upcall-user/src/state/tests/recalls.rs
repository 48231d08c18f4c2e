//! Recalls and what comes of them.

use super::*;

/// A write lease of ann's that bob is in the way of.
fn recalled(access: Access) -> (Rig, (ClientId, OpenId), ClientId) {
    let mut rig = Rig::new();
    let ann = rig.holder("ann", W);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, access, Deny::None), Err(Refusal::Recalling));
    assert_eq!(recalls(&rig.upcalls()).len(), 1);
    (rig, ann, bob)
}

#[test]
fn none_is_recalled_twice_except_down_to_less_by_the_same_deadline() {
    let (mut rig, (ann, _), bob) = recalled(Access::Read);
    let deadline = rig.now + secs(60);
    assert_eq!(rig.table.next_deadline(), Some(deadline));
    rig.pass(secs(10));
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
    assert_eq!(rig.upcalls(), []);
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::None)]);
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
    assert_eq!(rig.upcalls(), []);
    assert_eq!(rig.table.next_deadline(), Some(deadline));
}

#[test]
fn what_is_kept_beyond_a_recall_goes_on_being_recalled() {
    let (mut rig, (ann, open), bob) = recalled(Access::Write);
    rig.give_back(ann, open, W, Keep::Read).expect("downgraded");
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    rig.pass(secs(60));
    assert_eq!(revoked(&rig.upcalls()), [ann]);
    rig.open(bob, 1, Access::Write);
}

#[test]
fn on_the_deadline_the_lease_is_revoked_and_its_client_is_kept_off_for_a_while() {
    let (mut rig, (ann, open), bob) = recalled(Access::Read);
    rig.pass(secs(60) - Duration::from_millis(1));
    assert_eq!(rig.upcalls(), []);
    rig.pass(Duration::from_millis(1));
    assert_eq!(revoked(&rig.upcalls()), [ann]);
    let second = rig.open(bob, 1, Access::Read);
    rig.table.close(bob, second, rig.now).expect("closed");
    assert_eq!(rig.try_lease(ann, open, R), Err(Refusal::Backoff));
    // Whatever id it asks under, and whether or not it opens the file anew.
    rig.table.close(ann, open, rig.now).expect("closed");
    rig.pass(secs(9));
    let again = rig.open(ann, 2, Access::Both);
    assert_eq!(rig.try_lease(ann, again, R), Err(Refusal::Backoff));
    rig.pass(secs(1));
    rig.lease(ann, again, R);
}

#[test]
fn a_client_does_not_escape_its_back_off_by_connecting_again() {
    let (mut rig, (ann, open), _) = recalled(Access::Read);
    rig.pass(secs(60));
    rig.table.close(ann, open, rig.now).expect("closed");
    rig.disconnect(ann);
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Both);
    assert_eq!(rig.try_lease(ann, open, R), Err(Refusal::Backoff));
}

#[test]
fn a_recall_is_extended_once() {
    let (mut rig, (ann, open), _) = recalled(Access::Read);
    rig.pass(secs(50));
    assert_eq!(rig.table.extend(ann, open, rig.now), Ok(secs(70)));
    assert_eq!(rig.table.extend(ann, open, rig.now), Err(Refusal::Extended));
    rig.pass(secs(69));
    assert_eq!(rig.upcalls(), []);
    rig.pass(secs(1));
    assert_eq!(revoked(&rig.upcalls()), [ann]);
    assert_eq!(rig.table.extend(ann, open, rig.now), Err(Refusal::NotRecalled));
    assert_eq!(rig.table.settings.longest_recall(), secs(120));
}

#[test]
fn a_lease_given_back_in_time_is_not_revoked() {
    let (mut rig, (ann, open), bob) = recalled(Access::Read);
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    rig.open(bob, 1, Access::Read);
    rig.pass(secs(60));
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn an_open_that_waits_goes_on_at_the_deadline() {
    let mut rig = Rig::new();
    let (ann, _) = rig.holder("ann", R);
    let bob = rig.begin("bob");
    let wish = OpenRequest { wait: true, ..open_request(1, Access::Write, Deny::None) };
    let Reply::Later(request) = rig.table.open(bob, wish, rig.now) else { panic!("does not wait") };
    rig.effects();
    rig.pass(secs(60));
    let effects = rig.upcalls();
    assert_eq!(revoked(&effects), [ann]);
    assert_eq!(answers(&effects)[0].0, request);
    opened(answers(&effects)[0].1.clone()).expect("an open");
}

#[test]
fn an_open_that_waits_is_cancelled() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", R);
    let bob = rig.begin("bob");
    let wish = OpenRequest { wait: true, ..open_request(1, Access::Write, Deny::None) };
    let Reply::Later(request) = rig.table.open(bob, wish, rig.now) else { panic!("does not wait") };
    rig.effects();
    assert_eq!(rig.table.cancel(ann, request, rig.now), Err(Refusal::NotWaiting));
    rig.table.cancel(bob, request, rig.now).expect("cancelled");
    assert_eq!(answers(&rig.upcalls()), [(request, Err(Refusal::Cancelled))]);
    rig.give_back(ann, open, R, Keep::None).expect("returned");
    assert_eq!(rig.upcalls(), []);
    assert_eq!(rig.table.cancel(bob, request, rig.now), Err(Refusal::NotWaiting));
}

#[test]
fn changes_from_outside_recall_the_leases_of_others() {
    let mut rig = Rig::new();
    let (ann, _) = rig.holder("ann", R);
    let (bob, _) = rig.holder("bob", R);
    rig.table.outside(FILE, Keep::None, |client| client == ann, Who::Process(9), rig.now);
    assert_eq!(recalls(&rig.upcalls()), [(bob, Keep::None)]);
    rig.table.outside(FILE, Keep::Read, |_| false, Who::Process(9), rig.now);
    assert_eq!(rig.upcalls(), []);
    rig.table.outside(FILE, Keep::None, |_| false, Who::Process(9), rig.now);
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::None)]);
}

#[test]
fn of_what_the_kernel_cannot_weaken_nothing_is_to_be_kept() {
    let mut rig = Rig::new();
    rig.kernel = Some(Kernel::HeldWhole);
    let (ann, open) = rig.holder("ann", W);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::None)]);
    assert_eq!(rig.give_back(ann, open, W, Keep::Read), Err(Refusal::NotCarried));
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    // The next one may be another.
    rig.kernel = Some(Kernel::Held);
    rig.pass(secs(10));
    assert!(rig.try_lease(ann, open, W).is_ok());
    rig.give_back(ann, open, W, Keep::Read).expect("downgraded");
}
