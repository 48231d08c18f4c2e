//! What the kernel says, and when.

use super::*;

/// The asks among effects.
fn asks(effects: &[Effect]) -> Vec<AskId> {
    let ask = |effect: &Effect| match effect {
        Effect::AskLease { ask, .. } | Effect::AskDeny { ask, .. } | Effect::AskRange { ask, .. } => {
            Some(*ask)
        }
        _ => None,
    };
    effects.iter().filter_map(ask).collect()
}

/// A kernel that waits to be spoken for.
fn slow(kinds: &[(&str, Access)]) -> (Rig, Vec<(ClientId, OpenId)>) {
    let mut rig = Rig::new();
    let by = kinds
        .iter()
        .map(|&(name, access)| {
            let client = rig.begin(name);
            (client, rig.open(client, 1, access))
        })
        .collect();
    rig.effects();
    rig.kernel = None;
    (rig, by)
}

#[test]
fn a_local_opener_or_a_lack_of_means_refuses_a_lease() {
    for (answer, refusal) in [
        (Kernel::Refused(Who::Process(9)), Refusal::LocalConflict(Who::Process(9))),
        (Kernel::Unsupported, Refusal::Unsupported),
    ] {
        let mut rig = Rig::new();
        let (ann, open) = rig.locker("ann");
        rig.kernel = Some(answer);
        assert_eq!(rig.try_lease(ann, open, W), Err(refusal));
        assert_eq!(rig.table.census().leases, 0);
    }
}

#[test]
fn an_advisory_grant_is_called_so() {
    let mut rig = Rig::new();
    rig.kernel = Some(Kernel::Unsupported);
    let ann = rig.begin("ann");
    assert_eq!(rig.try_open(ann, 1, Access::Both, Deny::Write), Err(Refusal::Unsupported));
    let wish = OpenRequest { advisory_ok: true, ..open_request(1, Access::Both, Deny::Write) };
    let reply = rig.table.open(ann, wish, rig.now);
    let answer = rig.finished(reply);
    assert!(matches!(answer, Ok(Granted::Opened { advisory: true, .. })), "{answer:?}");
    let open = opened(answer).expect("an open");
    let reply = rig.table.lease(ann, LeaseRequest { advisory_ok: true, ..lease_request(open, W) }, rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Leased { kind: W, advisory: true }));
    let wish = LockRequest { advisory_ok: true, ..lock_request(open, 0, 1, LockKind::Write, false) };
    let reply = rig.table.lock(ann, wish, rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Locked { advisory: true }));
    // It is as exclusive between clients as any.
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
}

#[test]
fn one_kernel_lease_stands_for_those_of_all_and_goes_with_the_last() {
    let (mut rig, by) = slow(&[("ann", Access::Read), ("bob", Access::Read)]);
    let first = rig.table.lease(by[0].0, lease_request(by[0].1, R), rig.now);
    let second = rig.table.lease(by[1].0, lease_request(by[1].1, R), rig.now);
    let effects = rig.effects();
    assert_eq!(effects.len(), 1, "one ask: {effects:?}");
    rig.table.answered(asks(&effects)[0], Kernel::Held, rig.now);
    let granted = Ok(Granted::Leased { kind: R, advisory: false });
    let (Reply::Later(first), Reply::Later(second)) = (first, second) else {
        panic!("granted without asking")
    };
    assert_eq!(rig.effects().len(), 2);
    assert_eq!(rig.table.census().leases, 2);
    assert!(!rig.table.requests.contains_key(&first) && !rig.table.requests.contains_key(&second));
    assert_eq!(rig.try_lease(by[0].0, by[0].1, R), granted);
    rig.give_back(by[0].0, by[0].1, R, Keep::None).expect("returned");
    rig.give_back(by[0].0, by[0].1, R, Keep::None).expect("returned");
    assert_eq!(rig.effects(), []);
    rig.give_back(by[1].0, by[1].1, R, Keep::None).expect("returned");
    assert_eq!(rig.effects(), [Effect::SetLease { inode: FILE, kind: None }]);
}

#[test]
fn what_has_come_to_conflict_while_the_kernel_was_asked_is_not_granted() {
    let (mut rig, by) = slow(&[("ann", Access::Both)]);
    let Reply::Later(request) = rig.table.lease(by[0].0, lease_request(by[0].1, W), rig.now) else {
        panic!()
    };
    let asked = asks(&rig.effects());
    let bob = rig.begin("bob");
    rig.open(bob, 1, Access::Read);
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    let effects = rig.effects();
    assert_eq!(answers(&effects), [(request, Err(Refusal::Conflict(client("bob"))))]);
    assert!(effects.contains(&Effect::SetLease { inode: FILE, kind: None }));
}

#[test]
fn what_the_kernel_holds_for_one_who_is_gone_is_given_up() {
    let (mut rig, by) = slow(&[("ann", Access::Both)]);
    let _ = rig.table.lease(by[0].0, lease_request(by[0].1, W), rig.now);
    let _ = rig.try_lock(by[0], 0, 5, LockKind::Write);
    let asked = asks(&rig.effects());
    rig.table.close(by[0].0, by[0].1, rig.now).expect("closed");
    assert_eq!(answers(&rig.effects()).len(), 2);
    rig.disconnect(by[0].0);
    for ask in &asked {
        rig.table.answered(*ask, Kernel::Held, rig.now);
    }
    let owner = Owner { client: by[0].0, number: 1 };
    let expected = [
        Effect::SetLease { inode: FILE, kind: None },
        Effect::SetRange { inode: FILE, owner, range: range(0, 5), kind: None },
        Effect::ForgetOwner { inode: FILE, owner },
        Effect::Forget { inode: FILE },
    ];
    assert_eq!(rig.effects(), expected);
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    assert_eq!(rig.effects(), []);
    rig.assert_nothing_left();
}

#[test]
fn a_local_process_s_break_recalls_and_goes_on_with_the_return() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.table.lease_breaks(FILE, Keep::Read, Who::Process(9), rig.now);
    let effects = rig.effects();
    assert_eq!(recalls(&effects), [(ann, Keep::Read)]);
    assert_eq!(rig.try_lease(ann, open, W), Err(Refusal::Recalling));
    rig.give_back(ann, open, W, Keep::Read).expect("downgraded");
    assert_eq!(rig.effects(), [Effect::SetLease { inode: FILE, kind: Some(R) }]);
    rig.lease(ann, open, R);
    rig.table.lease_breaks(FILE, Keep::None, Who::Process(9), rig.now);
    rig.effects();
    rig.pass(secs(60));
    let effects = rig.effects();
    assert_eq!(revoked(&effects), [ann]);
    assert!(effects.contains(&Effect::SetLease { inode: FILE, kind: None }));
}

#[test]
fn a_break_that_comes_before_the_answer_is_not_lost() {
    let (mut rig, by) = slow(&[("ann", Access::Both)]);
    let Reply::Later(request) = rig.table.lease(by[0].0, lease_request(by[0].1, W), rig.now) else {
        panic!()
    };
    let asked = asks(&rig.effects());
    rig.table.lease_breaks(FILE, Keep::None, Who::Process(9), rig.now);
    assert_eq!(answers(&rig.effects()), [(request, Err(Refusal::Recalling))]);
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    assert_eq!(rig.effects(), [Effect::SetLease { inode: FILE, kind: None }]);
    rig.kernel = Some(Kernel::Held);
    rig.lease(by[0].0, by[0].1, W);
}

#[test]
fn a_break_of_what_was_given_up_already_means_nothing() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.give_back(ann, open, W, Keep::None).expect("returned");
    rig.effects();
    rig.table.lease_breaks(FILE, Keep::None, Who::Unknown, rig.now);
    assert_eq!(rig.effects(), []);
    rig.lease(ann, open, W);
}

#[test]
fn a_lease_that_the_kernel_has_lost_is_revoked() {
    let mut rig = Rig::new();
    let (ann, _) = rig.holder("ann", R);
    let (bob, _) = rig.holder("bob", R);
    rig.effects();
    rig.table.lease_lost(FILE, rig.now);
    assert_eq!(revoked(&rig.effects()), [ann, bob]);
    assert_eq!(rig.table.census().leases, 0);
}

#[test]
fn the_kernel_denies_what_all_opens_deny_and_no_more() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    rig.kernel = None;
    let deny_write = open_request(1, Access::Read, Deny::Write);
    let _ = rig.table.open(ann, deny_write, rig.now);
    let _ = rig.table.open(ann, open_request(1, Access::Read, Deny::Read), rig.now);
    let first = rig.effects();
    assert!(matches!(first[..], [Effect::AskDeny { deny: Deny::Write, .. }]), "{first:?}");
    rig.table.answered(asks(&first)[0], Kernel::Held, rig.now);
    let second = rig.effects();
    assert!(
        matches!(second[..], [Effect::Answer { .. }, Effect::AskDeny { deny: Deny::Both, .. }]),
        "{second:?}"
    );
    rig.table.answered(asks(&second)[0], Kernel::Refused(Who::Process(3)), rig.now);
    assert!(matches!(
        rig.effects()[..],
        [Effect::Answer { answer: Err(Refusal::LocalConflict(Who::Process(3))), .. }]
    ));
    let open = shown(&rig.table, FILE).opens[0].open;
    rig.table.close(ann, open, rig.now).expect("closed");
    assert_eq!(
        rig.effects(),
        [Effect::SetDeny { inode: FILE, deny: Deny::None }, Effect::Forget { inode: FILE }]
    );
}

#[test]
fn a_lock_that_waits_for_a_local_process_can_be_cancelled_or_be_too_late() {
    for (answer, expected) in [
        (Kernel::Cancelled, Err(Refusal::Cancelled)),
        (Kernel::Held, Ok(Granted::Locked { advisory: false })),
    ] {
        let (mut rig, by) = slow(&[("ann", Access::Both)]);
        let request = rig.blocked(by[0], 0, 5, LockKind::Write);
        let effects = rig.effects();
        assert!(matches!(effects[..], [Effect::AskRange { wait: true, .. }]));
        rig.table.cancel(by[0].0, request, rig.now).expect("cancelled");
        let ask = asks(&effects)[0];
        assert_eq!(rig.effects(), [Effect::CancelRange { ask }]);
        rig.table.answered(ask, answer, rig.now);
        assert_eq!(answers(&rig.effects()), [(request, expected)]);
    }
}

#[test]
fn who_asked_the_kernel_first_is_not_overtaken() {
    let (mut rig, by) = slow(&[("ann", Access::Both), ("bob", Access::Both)]);
    let first = rig.blocked(by[0], 0, 5, LockKind::Write);
    let asked = asks(&rig.effects());
    assert_eq!(rig.try_lock(by[1], 4, 1, LockKind::Read), Reply::Now(Err(Refusal::Conflict(client("ann")))));
    let second = rig.blocked(by[1], 4, 1, LockKind::Read);
    assert_eq!(rig.effects(), []);
    rig.table.answered(asked[0], Kernel::Refused(Who::Process(3)), rig.now);
    let effects = rig.effects();
    assert_eq!(answers(&effects), [(first, Err(Refusal::LocalConflict(Who::Process(3))))]);
    rig.table.answered(asks(&effects)[0], Kernel::Held, rig.now);
    assert_eq!(answers(&rig.effects()), [(second, Ok(Granted::Locked { advisory: false }))]);
}

#[test]
fn an_unlock_leaves_to_the_kernel_what_it_is_asked_for() {
    let mut rig = Rig::new();
    let ann = rig.locker("ann");
    rig.lock(ann, 0, 10, LockKind::Read);
    rig.effects();
    rig.kernel = None;
    let request = rig.blocked(ann, 5, 10, LockKind::Write);
    let asked = asks(&rig.effects());
    rig.unlock(ann, 0, 10);
    let owner = Owner { client: ann.0, number: 1 };
    let freed =
        |start, length| Effect::SetRange { inode: FILE, owner, range: range(start, length), kind: None };
    assert_eq!(rig.effects(), [freed(0, 5)]);
    rig.table.answered(asked[0], Kernel::Refused(Who::Unknown), rig.now);
    let answer = Effect::Answer { client: ann.0, request, answer: Err(Refusal::LocalConflict(Who::Unknown)) };
    assert_eq!(rig.effects(), [freed(5, 10), answer, Effect::ForgetOwner { inode: FILE, owner }]);
}

#[test]
fn requests_of_one_owner_for_one_range_are_taken_in_turn() {
    let (mut rig, by) = slow(&[("ann", Access::Both)]);
    let _ = rig.try_lock(by[0], 0, 10, LockKind::Write);
    let asked = asks(&rig.effects());
    let Reply::Later(second) = rig.try_lock(by[0], 5, 10, LockKind::Read) else { panic!("not in turn") };
    assert_eq!(rig.effects(), []);
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    let asked = asks(&rig.effects());
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    assert_eq!(answers(&rig.effects()), [(second, Ok(Granted::Locked { advisory: false }))]);
    let locks = shown(&rig.table, FILE).locks;
    let held: Vec<_> = locks.iter().map(|lock| (lock.range, lock.kind)).collect();
    assert_eq!(held, [(range(0, 5), LockKind::Write), (range(5, 10), LockKind::Read)]);
}

#[test]
fn a_lock_that_may_not_wait_is_refused_behind_its_owners_that_waits_for_a_local_process() {
    let (mut rig, by) = slow(&[("ann", Access::Both)]);
    let waiting = rig.blocked(by[0], 0, 10, LockKind::Write);
    let asked = asks(&rig.effects());
    let refused = Reply::Now(Err(Refusal::Conflict(client("ann"))));
    assert_eq!(rig.try_lock(by[0], 5, 10, LockKind::Write), refused);
    let second = rig.blocked(by[0], 5, 10, LockKind::Write);
    // Once it is cancelled the outcome is near.
    rig.table.cancel(by[0].0, waiting, rig.now).expect("cancelled");
    assert_eq!(rig.effects(), [Effect::CancelRange { ask: asked[0] }]);
    rig.table.answered(asked[0], Kernel::Cancelled, rig.now);
    let effects = rig.effects();
    assert_eq!(answers(&effects), [(waiting, Err(Refusal::Cancelled))]);
    rig.table.answered(asks(&effects)[0], Kernel::Held, rig.now);
    assert_eq!(answers(&rig.effects()), [(second, Ok(Granted::Locked { advisory: false }))]);
}

#[test]
fn what_the_kernel_weakened_for_one_who_is_gone_is_weaker() {
    let mut rig = Rig::new();
    let ann = rig.locker("ann");
    let second = (ann.0, rig.open(ann.0, 1, Access::Both));
    rig.lock(ann, 0, 10, LockKind::Write);
    rig.effects();
    rig.kernel = None;
    let _ = rig.try_lock(second, 5, 10, LockKind::Read);
    let asked = asks(&rig.effects());
    rig.table.close(second.0, second.1, rig.now).expect("closed");
    rig.effects();
    rig.table.answered(asked[0], Kernel::Held, rig.now);
    let owner = Owner { client: ann.0, number: 1 };
    assert_eq!(rig.effects(), [Effect::SetRange { inode: FILE, owner, range: range(10, 5), kind: None }]);
    let locks = shown(&rig.table, FILE).locks;
    let held: Vec<_> = locks.iter().map(|lock| (lock.range, lock.kind)).collect();
    assert_eq!(held, [(range(0, 5), LockKind::Write), (range(5, 5), LockKind::Read)]);
}
