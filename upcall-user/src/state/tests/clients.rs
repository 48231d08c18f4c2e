//! Clients come, go, come back, or do not.

use super::*;

fn reclaim(open: OpenId, id: u8, access: Access) -> OpenRequest {
    OpenRequest { reclaim: Some(open), ..open_request(id, access, Deny::None) }
}

fn reclaim_lease(open: OpenId, kind: LeaseKind) -> LeaseRequest {
    LeaseRequest { reclaim: true, ..lease_request(open, kind) }
}

fn reclaim_lock(open: OpenId, start: u64, length: u64) -> LockRequest {
    LockRequest { reclaim: true, ..lock_request(open, start, length, LockKind::Write, false) }
}

#[test]
fn an_identity_is_one_user_s() {
    let mut rig = Rig::new();
    rig.begin("ann");
    let mut identity = [0; 16];
    identity[..3].copy_from_slice(b"ann");
    let other = rig.table.begin(Identity(identity), 2, "eve", Connection(99), rig.now);
    assert_eq!(other, Err(Refusal::IdentityInUse));
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn a_second_connection_takes_over_and_the_first_one_s_end_changes_nothing() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let again = rig.begin("ann");
    assert_eq!(again, ann);
    assert_eq!(rig.upcalls(), [Effect::Disconnect { connection: Connection(1) }]);
    rig.table.disconnect(ann, Connection(1), rig.now);
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
}

#[test]
fn a_client_that_comes_back_gets_the_same() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.lock((ann, open), 5, 5, LockKind::Write);
    rig.disconnect(ann);
    rig.pass(secs(14));
    assert_eq!(rig.begin("ann"), ann);
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Leased { kind: W, advisory: false })));
    let reply = rig.table.lock(ann, reclaim_lock(open, 5, 5), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Locked { advisory: false })));
    // Not more than it had.
    let reply = rig.table.lease(ann, reclaim_lease(open, R), rig.now);
    assert_eq!(reply, Reply::Now(Err(Refusal::NoReclaim)));
    let reply = rig.table.lock(ann, reclaim_lock(open, 5, 6), rig.now);
    assert_eq!(reply, Reply::Now(Err(Refusal::NoReclaim)));
    assert_eq!(rig.table.census().leases, 1);
    rig.pass(secs(60));
    assert_eq!(rig.table.census().leases, 1);
    rig.give_back(ann, open, W, Keep::None).expect("one return");
    assert_eq!(rig.table.census().leases, 0);
}

#[test]
fn what_is_not_reclaimed_ends_though_its_client_is_back() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    rig.open(ann, 1, Access::Read);
    let second = rig.open(ann, 2, Access::Read);
    rig.disconnect(ann);
    rig.pass(secs(5));
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(second, 2, Access::Read), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open: second, advisory: false })));
    // Once each.
    let reply = rig.table.open(ann, reclaim(second, 2, Access::Read), rig.now);
    assert_eq!(reply, Reply::Now(Err(Refusal::NoReclaim)));
    // Connecting again and again gives no more time.
    rig.disconnect(ann);
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(second, 2, Access::Read), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open: second, advisory: false })));
    rig.pass(secs(10));
    let opens: Vec<OpenId> = shown(&rig.table, FILE).opens.iter().map(|it| it.open).collect();
    assert_eq!(opens, [second]);
}

#[test]
fn what_is_not_claimed_ends_when_its_client_says_that_it_has_reclaimed_all() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.lease(ann, open, W);
    rig.lease(ann, open, R);
    rig.open(ann, 1, Access::Read);
    rig.disconnect(ann);
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Leased { kind: W, advisory: false })));
    rig.table.reclaimed(ann, rig.now).expect("begun");
    let (opens, leases) = (rig.table.census().opens, rig.table.census().leases);
    assert_eq!((opens, leases), (1, 1));
    // Once more changes nothing.
    rig.table.reclaimed(ann, rig.now).expect("begun");
    assert_eq!(rig.table.census().leases, 1);
    rig.give_back(ann, open, W, Keep::None).expect("the one");
    assert_eq!(rig.table.census().leases, 0);
}

/// The locks of an owner, as they are shown.
fn locks(rig: &Rig) -> Vec<(u64, Range, LockKind)> {
    let shown = shown(&rig.table, FILE);
    shown.locks.iter().map(|lock| (lock.owner, lock.range, lock.kind)).collect()
}

#[test]
fn locks_that_are_not_claimed_end_when_their_client_says_that_it_has_reclaimed_all() {
    let mut rig = Rig::new();
    let (ann, open) = rig.locker("ann");
    rig.lock((ann, open), 0, 10, LockKind::Write);
    rig.lock((ann, open), 20, 10, LockKind::Write);
    let second = LockRequest { owner: 2, ..lock_request(open, 40, 10, LockKind::Write, false) };
    let reply = rig.table.lock(ann, second, rig.now);
    assert_eq!(rig.answer(reply), Ok(Granted::Locked { advisory: false }));
    rig.disconnect(ann);
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    // All of one, of another a part and that as less, nothing of the third; and one more.
    for lock in [
        reclaim_lock(open, 0, 10),
        LockRequest { kind: LockKind::Read, ..reclaim_lock(open, 20, 5) },
        lock_request(open, 60, 5, LockKind::Write, false),
    ] {
        let reply = rig.table.lock(ann, lock, rig.now);
        assert_eq!(rig.answer(reply), Ok(Granted::Locked { advisory: false }), "{lock:?}");
    }
    rig.effects();
    rig.table.reclaimed(ann, rig.now).expect("begun");
    let (read, write) = (LockKind::Read, LockKind::Write);
    let left = [(1, range(0, 10), write), (1, range(20, 5), read), (1, range(60, 5), write)];
    assert_eq!(locks(&rig), left);
    let owner = |number| Owner { client: ann, number };
    let set = |number, range, kind| Effect::SetRange { inode: FILE, owner: owner(number), range, kind };
    let effects = [
        set(1, range(25, 5), None),
        set(1, range(20, 5), Some(read)),
        set(2, range(40, 10), None),
        Effect::ForgetOwner { inode: FILE, owner: owner(2) },
    ];
    assert_eq!(rig.effects(), effects);
    // From here on there is nothing to claim.
    rig.table.reclaimed(ann, rig.now).expect("begun");
    assert_eq!(locks(&rig), left);
}

#[test]
fn claims_of_more_locks_than_there_may_be_let_none_end() {
    let share = Share { locks: 5, ..Settings::default().limits.client };
    let limits = Limits { client: share, ..Limits::default() };
    let mut rig = Rig::with(Settings { limits, ..Settings::default() });
    let (ann, open) = rig.locker("ann");
    rig.lock((ann, open), 0, 100, LockKind::Write);
    rig.disconnect(ann);
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    for start in 0..10 {
        let reply = rig.table.lock(ann, reclaim_lock(open, 10 * start, 1), rig.now);
        assert_eq!(reply, Reply::Now(Ok(Granted::Locked { advisory: false })));
    }
    rig.table.reclaimed(ann, rig.now).expect("begun");
    assert_eq!(locks(&rig), [(1, range(0, 100), LockKind::Write)]);
}

#[test]
fn what_ends_while_its_client_is_gone_is_known_all_the_same() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.table.lease_breaks(FILE, Keep::None, Who::Process(1), rig.now);
    rig.pass(secs(50));
    rig.disconnect(ann);
    rig.effects();
    rig.pass(secs(10));
    assert_eq!(revoked(&rig.upcalls()), [ann]);
    rig.pass(secs(5));
    let lapsed = Effect::Lapsed { client: client("ann"), open, inode: FILE };
    assert!(rig.effects().contains(&lapsed));
}

#[test]
fn each_open_that_carries_a_lease_is_told_of_its_recall_and_its_end() {
    let mut rig = Rig::new();
    let (ann, first) = rig.holder("ann", R);
    let second = rig.open(ann, 1, Access::Read);
    rig.lease(ann, second, R);
    rig.open(ann, 1, Access::Read);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    let opens = |effects: Vec<Effect>| -> Vec<OpenId> {
        let open = |effect| match effect {
            Effect::Recall { open, .. } | Effect::Revoked { open, .. } => Some(open),
            _ => None,
        };
        effects.into_iter().filter_map(open).collect()
    };
    assert_eq!(opens(rig.upcalls()), [first, second]);
    rig.pass(secs(60));
    assert_eq!(opens(rig.upcalls()), [first, second]);
}

#[test]
fn nothing_is_left_of_a_client_that_does_not_come_back() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.lock((ann, open), 0, 0, LockKind::Write);
    rig.disconnect(ann);
    rig.pass(secs(15));
    let effects = rig.effects();
    let owner = Owner { client: ann, number: 1 };
    for expected in [
        Effect::SetLease { inode: FILE, kind: None },
        Effect::SetRange { inode: FILE, owner, range: range(0, 0), kind: None },
        Effect::ForgetOwner { inode: FILE, owner },
        Effect::Forget { inode: FILE },
    ] {
        assert!(effects.contains(&expected), "{expected:?} in {effects:?}");
    }
    rig.assert_nothing_left();
}

#[test]
fn a_recall_runs_on_while_its_holder_is_away_and_is_repeated_when_it_reclaims_the_lease() {
    let mut rig = Rig::new();
    let (ann, first) = rig.holder("ann", W);
    let open = rig.open(ann, 1, Access::Both);
    rig.lease(ann, open, W);
    let bob = rig.begin("bob");
    rig.disconnect(ann);
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
    assert_eq!(rig.upcalls(), []);
    let deadline = rig.now + secs(60);
    rig.pass(secs(10));
    rig.begin("ann");
    for open in [first, open] {
        let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
        assert!(matches!(reply, Reply::Now(Ok(_))));
    }
    // It knows of no lease yet.
    assert_eq!(rig.upcalls(), []);
    let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    assert!(matches!(reply, Reply::Now(Ok(_))));
    let told = rig.upcalls();
    assert_eq!(recalls(&told), [(ann, Keep::Read)]);
    let repeated = |told: &Effect| matches!(told, Effect::Recall { deadline: until, open: of, .. } if (*until, *of) == (deadline, open));
    assert!(repeated(&told[0]), "{told:?}");
    rig.pass(secs(50));
    assert_eq!(revoked(&rig.upcalls()), [ann, ann]);
}

#[test]
fn nobody_asks_without_having_begun() {
    let mut rig = Rig::new();
    let (ann, open) = rig.locker("ann");
    rig.disconnect(ann);
    assert_eq!(rig.try_open(ann, 1, Access::Read, Deny::None), Err(Refusal::NotBegun));
    assert_eq!(rig.table.close(ann, open, rig.now), Err(Refusal::NotBegun));
    assert_eq!(rig.try_open(ClientId(12_345), 1, Access::Read, Deny::None), Err(Refusal::NotBegun));
}

#[test]
fn after_a_restart_only_reclaims_are_accepted_for_a_while() {
    let mut rig = Rig::restarted();
    let ann = rig.begin("ann");
    assert_eq!(rig.try_open(ann, 1, Access::Both, Deny::None), Err(Refusal::Grace));
    let reply = rig.table.open(ann, reclaim(OpenId(1), 1, Access::Both), rig.now);
    let open = opened(rig.finished(reply)).expect("reclaimed");
    assert!(open.0 > 1_000, "an earlier daemon's number");
    assert_eq!(rig.try_lease(ann, open, W), Err(Refusal::Grace));
    assert_eq!(rig.try_lock((ann, open), 0, 1, LockKind::Write), Reply::Now(Err(Refusal::Grace)));
    let test = rig.table.test_lock(ann, (open, 1), LockKind::Write, range(0, 1), rig.now);
    assert_eq!(test, Err(Refusal::Grace));
    // Each grant is reclaimed by itself.
    for _ in 0..2 {
        let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
        assert_eq!(rig.finished(reply), Ok(Granted::Leased { kind: W, advisory: false }));
    }
    let reply = rig.table.lock(ann, reclaim_lock(open, 0, 1), rig.now);
    assert_eq!(rig.finished(reply), Ok(Granted::Locked { advisory: false }));
    assert_eq!((rig.table.census().leases, rig.table.census().locks), (2, 1));
    let grows = ChangeRequest { open, access: Access::Both, deny: Deny::Write };
    assert_eq!(rig.table.change(ann, grows, rig.now), Reply::Now(Err(Refusal::Grace)));
    rig.pass(secs(15));
    rig.open(ann, 1, Access::Both);
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Err(Refusal::NoReclaim)));
}

#[test]
fn reclaims_that_conflict_with_one_another_are_refused() {
    let mut rig = Rig::restarted();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let reply = rig.table.open(ann, reclaim(OpenId(1), 1, Access::Both), rig.now);
    let open = opened(rig.finished(reply)).expect("reclaimed");
    let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    rig.finished(reply).expect("reclaimed");
    let reply = rig.table.open(bob, reclaim(OpenId(1), 1, Access::Read), rig.now);
    assert_eq!(rig.finished(reply), Err(Refusal::Conflict(client("ann"))));
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn what_a_client_gets_while_it_reclaims_it_keeps() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.disconnect(ann);
    rig.begin("ann");
    rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    // The answer to a recall that is sent again.
    rig.give_back(ann, open, W, Keep::Read).expect("it held one");
    let reply = rig.table.lease(ann, lease_request(open, R), rig.now);
    assert!(rig.answer(reply).is_ok());
    rig.table.reclaimed(ann, rig.now).expect("connected");
    assert_eq!(rig.table.census().leases, 2);
}

#[test]
fn the_end_of_a_grace_period_is_not_waited_for_by_a_test() {
    let mut rig = Rig::restarted();
    let ann = rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(OpenId(1), 1, Access::Both), rig.now);
    let Ok(Granted::Opened { open, .. }) = rig.answer(reply) else { panic!("not reclaimed") };
    let test = |rig: &mut Rig| rig.table.test_lock(ann, (open, 1), LockKind::Write, range(0, 1), rig.now);
    assert_eq!(test(&mut rig), Err(Refusal::Grace));
    rig.now += secs(16);
    assert_eq!(test(&mut rig), Ok(None));
}

#[test]
fn of_opens_that_are_alike_each_is_reclaimed_by_its_number() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let [first, second] = [rig.open(ann, 1, Access::Both), rig.open(ann, 1, Access::Both)];
    rig.lock((ann, second), 0, 10, LockKind::Write);
    rig.disconnect(ann);
    rig.begin("ann");
    // The first one was closed, but the connection ended before the daemon heard of it.
    let reply = rig.table.open(ann, reclaim(second, 1, Access::Both), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open: second, advisory: false })));
    let reply = rig.table.lock(ann, reclaim_lock(second, 0, 10), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Locked { advisory: false })));
    rig.table.reclaimed(ann, rig.now).expect("connected");
    assert_eq!((rig.table.census().opens, rig.table.census().locks), (1, 1));
    assert_eq!(rig.table.close(ann, first, rig.now), Err(Refusal::NotOpen));
}

#[test]
fn a_lock_is_not_reclaimed_before_its_open_is() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let [first, second] = [rig.open(ann, 1, Access::Both), rig.open(ann, 1, Access::Both)];
    rig.lock((ann, first), 0, 10, LockKind::Write);
    rig.disconnect(ann);
    rig.begin("ann");
    rig.table.open(ann, reclaim(second, 1, Access::Both), rig.now);
    let reply = rig.table.lock(ann, reclaim_lock(second, 0, 10), rig.now);
    assert_eq!(reply, Reply::Now(Err(Refusal::NoReclaim)));
    rig.table.open(ann, reclaim(first, 1, Access::Both), rig.now);
    let reply = rig.table.lock(ann, reclaim_lock(first, 0, 10), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Locked { advisory: false })));
}

/// The answer by which its client would have known that another open carries it is lost.
#[test]
fn a_lock_is_carried_by_the_open_that_it_is_reclaimed_by() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let [first, second] = [rig.open(ann, 1, Access::Both), rig.open(ann, 1, Access::Both)];
    rig.lock((ann, first), 0, 10, LockKind::Write);
    rig.lock((ann, second), 0, 20, LockKind::Write);
    rig.disconnect(ann);
    rig.begin("ann");
    for open in [first, second] {
        rig.table.open(ann, reclaim(open, 1, Access::Both), rig.now);
    }
    let reply = rig.table.lock(ann, reclaim_lock(first, 0, 10), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Locked { advisory: false })));
    rig.table.reclaimed(ann, rig.now).expect("begun");
    rig.table.close(ann, second, rig.now).expect("open");
    assert_eq!(locks(&rig), [(1, range(0, 10), LockKind::Write)]);
    rig.table.close(ann, first, rig.now).expect("open");
    assert_eq!(locks(&rig), []);
}

#[test]
fn an_open_whose_change_its_client_has_not_heard_of_is_reclaimed_and_narrowed() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Read);
    let change = ChangeRequest { open, access: Access::Both, deny: Deny::Write };
    let reply = rig.table.change(ann, change, rig.now);
    assert!(rig.finished(reply).is_ok());
    rig.disconnect(ann);
    rig.begin("ann");
    // More than it has is another one.
    let more = OpenRequest { deny: Deny::Both, ..reclaim(open, 1, Access::Read) };
    assert_eq!(rig.table.open(ann, more, rig.now), Reply::Now(Err(Refusal::NoReclaim)));
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Read), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    assert!(rig.effects().contains(&Effect::SetDeny { inode: FILE, deny: Deny::None }));
    let shown = shown(&rig.table, FILE);
    assert_eq!((shown.opens[0].access, shown.opens[0].deny), (Access::Read, Deny::None));
}

#[test]
fn an_open_is_not_narrowed_below_what_it_carries() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    rig.disconnect(ann);
    rig.begin("ann");
    let reply = rig.table.open(ann, reclaim(open, 1, Access::Read), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Opened { open, advisory: false })));
    let reply = rig.table.lease(ann, reclaim_lease(open, W), rig.now);
    assert_eq!(reply, Reply::Now(Ok(Granted::Leased { kind: W, advisory: false })));
}
