//! Byte-range locks.

use super::*;

const READ: LockKind = LockKind::Read;
const WRITE: LockKind = LockKind::Write;
const LOCKED: Result<Granted, Refusal> = Ok(Granted::Locked { advisory: false });

#[test]
fn reads_share_and_writes_exclude() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, READ);
    rig.lock(bob, 5, 10, READ);
    assert_eq!(rig.try_lock(bob, 9, 1, WRITE), Reply::Now(Err(Refusal::Conflict(client("ann")))));
    rig.lock(bob, 10, 5, WRITE);
    assert_eq!(rig.try_lock(ann, 14, 0, READ), Reply::Now(Err(Refusal::Conflict(client("bob")))));
    rig.lock(ann, 15, 0, WRITE);
}

#[test]
fn a_test_names_the_lock_in_the_way() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 3, 4, READ);
    let test = |rig: &mut Rig, kind| rig.table.test_lock(bob.0, (bob.1, 1), kind, range(0, 0), rig.now);
    assert_eq!(test(&mut rig, READ), Ok(None));
    assert_eq!(test(&mut rig, WRITE), Ok(Some((READ, range(3, 4), client("ann")))));
    assert_eq!(rig.table.test_lock(ann.0, (ann.1, 1), WRITE, range(0, 0), rig.now), Ok(None));
}

#[test]
fn a_lock_needs_the_open_s_access() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let (reads, writes) = (rig.open(ann, 1, Access::Read), rig.open(ann, 1, Access::Write));
    assert_eq!(rig.try_lock((ann, reads), 0, 1, WRITE), Reply::Now(Err(Refusal::NotCarried)));
    assert_eq!(rig.try_lock((ann, writes), 0, 1, READ), Reply::Now(Err(Refusal::NotCarried)));
    rig.lock((ann, reads), 0, 1, READ);
    rig.lock((ann, writes), 0, 1, WRITE);
}

#[test]
fn who_waits_is_granted_in_order_and_not_overtaken() {
    let mut rig = Rig::new();
    let lockers = ["ann", "bob", "cat", "dan"].map(|name| rig.locker(name));
    let [ann, bob, cat, dan] = lockers;
    rig.lock(ann, 0, 10, READ);
    let second = rig.blocked(bob, 0, 10, WRITE);
    // It would not conflict with what is held, but it does with who waits.
    let third = rig.blocked(cat, 5, 10, READ);
    // This one conflicts with neither.
    rig.lock(dan, 50, 1, WRITE);
    rig.effects();
    rig.unlock(ann, 0, 10);
    assert_eq!(answers(&rig.upcalls()), [(second, LOCKED)]);
    rig.unlock(bob, 0, 10);
    assert_eq!(answers(&rig.upcalls()), [(third, LOCKED)]);
}

#[test]
fn who_is_waited_for_does_not_wait_behind_those() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, READ);
    let waiting = rig.blocked(bob, 0, 20, WRITE);
    rig.lock(ann, 5, 10, READ);
    rig.unlock(ann, 0, 15);
    assert_eq!(answers(&rig.upcalls()), [(waiting, LOCKED)]);
}

#[test]
fn a_wait_ends_with_cancel_close_and_disconnection() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, WRITE);
    let first = rig.blocked(bob, 0, 1, READ);
    rig.effects();
    rig.table.cancel(bob.0, first, rig.now).expect("cancelled");
    assert_eq!(answers(&rig.upcalls()), [(first, Err(Refusal::Cancelled))]);
    let second = rig.blocked(bob, 0, 1, READ);
    rig.table.close(bob.0, bob.1, rig.now).expect("closed");
    assert_eq!(answers(&rig.upcalls()), [(second, Err(Refusal::Released))]);
    let bob = (bob.0, rig.open(bob.0, 1, Access::Both));
    rig.blocked(bob, 0, 1, READ);
    rig.disconnect(bob.0);
    assert_eq!(answers(&rig.upcalls()), []);
    assert_eq!(rig.table.census().waiting, 0);
}

#[test]
fn two_who_would_wait_for_each_other_do_not() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 1, WRITE);
    rig.lock(bob, 1, 1, WRITE);
    rig.blocked(ann, 1, 1, WRITE);
    let request = lock_request(bob.1, 0, 1, WRITE, true);
    assert_eq!(rig.table.lock(bob.0, request, rig.now), Reply::Now(Err(Refusal::Deadlock)));
    // Without waiting it is an ordinary conflict.
    assert_eq!(rig.try_lock(bob, 0, 1, WRITE), Reply::Now(Err(Refusal::Conflict(client("ann")))));
}

#[test]
fn a_ring_of_three_over_two_files_is_found() {
    let mut rig = Rig::new();
    let (ann, bob, cat) = (rig.locker("ann"), rig.locker("bob"), rig.locker("cat"));
    let mut other = |by: ClientId| {
        let request = OpenRequest { inode: OTHER, ..open_request(1, Access::Both, Deny::None) };
        let reply = rig.table.open(by, request, rig.now);
        (by, opened(rig.finished(reply)).expect("an open"))
    };
    let (bob2, cat2) = (other(bob.0), other(cat.0));
    rig.lock(ann, 0, 1, WRITE);
    rig.lock(bob, 1, 1, WRITE);
    rig.lock(cat2, 0, 1, WRITE);
    rig.blocked(ann, 1, 1, READ);
    rig.blocked(bob2, 0, 1, READ);
    let request = lock_request(cat.1, 0, 1, READ, true);
    assert_eq!(rig.table.lock(cat.0, request, rig.now), Reply::Now(Err(Refusal::Deadlock)));
}

#[test]
fn a_deadlock_that_an_unlock_makes_is_found() {
    let mut rig = Rig::new();
    let [xan, zoe, hal, quo] = ["xan", "zoe", "hal", "quo"].map(|name| rig.locker(name));
    rig.lock(quo, 0, 1, READ);
    rig.lock(zoe, 0, 1, READ);
    rig.lock(hal, 5, 1, WRITE);
    rig.lock(zoe, 20, 1, WRITE);
    // Quo waits for zoe, xan for quo and zoe; zoe, for whom xan waits, waits for hal alone.
    rig.blocked(quo, 20, 1, WRITE);
    rig.blocked(xan, 0, 6, WRITE);
    let last = rig.blocked(zoe, 4, 2, WRITE);
    rig.effects();
    // Now zoe is behind xan.
    rig.unlock(zoe, 0, 1);
    assert_eq!(answers(&rig.upcalls()), [(last, Err(Refusal::Deadlock))]);
}

#[test]
fn of_two_rings_with_one_wait_in_common_only_that_is_refused() {
    let mut rig = Rig::new();
    let [xan, zoe, hal, quo] = ["xan", "zoe", "hal", "quo"].map(|name| rig.locker(name));
    let kept = (zoe.0, rig.open(zoe.0, 1, Access::Both));
    let second = |open: (ClientId, OpenId), start| LockRequest {
        owner: 2,
        ..lock_request(open.1, start, 1, WRITE, true)
    };
    rig.lock(quo, 0, 1, READ);
    rig.lock(zoe, 0, 1, READ);
    rig.lock(hal, 5, 1, WRITE);
    rig.lock(kept, 20, 1, WRITE);
    rig.lock(kept, 30, 1, WRITE);
    for (open, start) in [(zoe, 60), (kept, 1)] {
        assert!(matches!(rig.table.lock(zoe.0, second(open, start), rig.now), Reply::Later(_)));
        rig.upcalls();
    }
    rig.blocked(quo, 20, 1, WRITE);
    rig.blocked(xan, 0, 6, WRITE);
    // Zoe's second owner waits for its first, which waits for hal alone, until it is behind xan.
    assert!(matches!(rig.table.lock(zoe.0, second(kept, 30), rig.now), Reply::Later(_)));
    let last = rig.blocked(kept, 4, 2, WRITE);
    rig.effects();
    rig.table.close(zoe.0, zoe.1, rig.now).unwrap();
    assert_eq!(answers(&rig.upcalls()), [(last, Err(Refusal::Deadlock))]);
}

#[test]
fn two_upgrades_of_one_range_do_not_wait_for_each_other() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, READ);
    rig.lock(bob, 0, 10, READ);
    let waiting = rig.blocked(ann, 0, 10, WRITE);
    let request = lock_request(bob.1, 0, 10, WRITE, true);
    assert_eq!(rig.table.lock(bob.0, request, rig.now), Reply::Now(Err(Refusal::Deadlock)));
    rig.unlock(bob, 0, 10);
    assert_eq!(answers(&rig.upcalls()), [(waiting, LOCKED)]);
}

#[test]
fn a_weaker_lock_lets_readers_in_and_asks_nobody() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, WRITE);
    let waiting = rig.blocked(bob, 0, 5, READ);
    rig.effects();
    assert_eq!(rig.try_lock(ann, 0, 5, READ), Reply::Now(LOCKED));
    let owner = Owner { client: ann.0, number: 1 };
    let effects = rig.effects();
    let weaker = Effect::SetRange { inode: FILE, owner, range: range(0, 5), kind: Some(READ) };
    assert!(effects.contains(&weaker), "{effects:?}");
    assert_eq!(answers(&effects), [(waiting, LOCKED)]);
}

#[test]
fn locks_end_with_the_open_they_were_made_under() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    let second = (ann.0, rig.open(ann.0, 1, Access::Both));
    rig.lock(ann, 0, 10, WRITE);
    rig.lock(second, 4, 2, WRITE);
    rig.table.close(ann.0, ann.1, rig.now).expect("closed");
    rig.lock(bob, 0, 4, WRITE);
    rig.lock(bob, 6, 0, WRITE);
    assert_eq!(rig.try_lock(bob, 5, 1, READ), Reply::Now(Err(Refusal::Conflict(client("ann")))));
}

#[test]
fn one_who_still_waits_is_told_of_again() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    rig.lock(ann, 0, 10, WRITE);
    rig.blocked(bob, 0, 1, READ);
    assert_eq!(contentions(&rig.upcalls()), [ann.0]);
    rig.pass(secs(5));
    let told = rig.upcalls();
    let owner = 1;
    let (cookie, open) = (5, ann.1);
    let contention =
        Effect::Contention { client: ann.0, open, cookie, owner, range: range(0, 1), who: client("bob") };
    assert_eq!(told, [contention]);
    rig.pass(secs(4));
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn thousands_of_ranges_are_locked_tested_and_gone() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.locker("ann"), rig.locker("bob"));
    for number in 0..4_000 {
        rig.lock(ann, number * 4, 2, WRITE);
    }
    assert_eq!(rig.table.census().locks, 4_000);
    rig.lock(bob, 2, 2, WRITE);
    assert_eq!(rig.try_lock(bob, 10_000, 4, WRITE), Reply::Now(Err(Refusal::Conflict(client("ann")))));
    rig.lock(ann, 1_000, 0, READ);
    rig.unlock(ann, 0, 0);
    assert_eq!(rig.table.census().locks, 1);
}

#[test]
fn who_gets_the_lock_is_told_of_who_has_waited_longer() {
    let mut rig = Rig::new();
    let [cid, ann, bob] = ["cid", "ann", "bob"].map(|name| {
        let client = rig.begin(name);
        (client, rig.open(client, 1, Access::Both))
    });
    rig.lock(cid, 0, 10, WRITE);
    for waits in [ann, bob] {
        let request = lock_request(waits.1, 0, 10, WRITE, true);
        assert!(matches!(rig.table.lock(waits.0, request, rig.now), Reply::Later(_)));
    }
    rig.upcalls();
    rig.table.unlock(cid.0, cid.1, 1, range(0, 10), rig.now).expect("open");
    let told: Vec<_> = rig
        .upcalls()
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Contention { client, who, .. } => Some((client, who)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(ann.0, Who::Client("bob".into()))]);
}

#[test]
fn an_open_forgets_owners_that_have_nothing() {
    let mut rig = Rig::new();
    let client = rig.begin("ann");
    let open = rig.open(client, 1, Access::Both);
    for owner in 0..1000 {
        let request = LockRequest { owner, ..lock_request(open, 0, 10, READ, false) };
        let reply = rig.table.lock(client, request, rig.now);
        assert!(rig.answer(reply).is_ok());
        rig.table.unlock(client, open, owner, range(0, 10), rig.now).expect("open");
        rig.effects();
    }
    assert_eq!(rig.table.opens[&open].owners.len(), 0);
}

#[test]
fn an_open_forgets_owners_whose_locks_another_open_has_taken() {
    let mut rig = Rig::new();
    let client = rig.begin("ann");
    let (first, second) = (rig.open(client, 1, Access::Both), rig.open(client, 1, Access::Both));
    rig.lock((client, first), 0, 10, READ);
    rig.lock((client, second), 4, 2, READ);
    let owners = |rig: &Rig, open| rig.table.opens[&open].owners.values().copied().collect::<Vec<_>>();
    assert_eq!((owners(&rig, first), owners(&rig, second)), (vec![2], vec![1]));
    rig.lock((client, second), 0, 5, READ);
    assert_eq!((owners(&rig, first), owners(&rig, second)), (vec![1], vec![1]));
    rig.lock((client, second), 6, 4, READ);
    assert_eq!((owners(&rig, first), owners(&rig, second)), (vec![], vec![1]));
}

#[test]
fn a_search_for_a_ring_that_takes_too_long_refuses_the_wait() {
    let limits = Limits { search: 20, ..Limits::default() };
    let mut rig = Rig::with(Settings { limits, ..Settings::default() });
    let lockers = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"].map(|name| rig.locker(name));
    let [first @ .., writer, another] = lockers;
    first.into_iter().for_each(|by| rig.lock(by, 0, 10, READ));
    let waiting = rig.blocked(writer, 0, 10, WRITE);
    // Six who hold it and the one who waits; and again the six for whom that one waits.
    rig.blocked(another, 0, 10, WRITE);
    let third = rig.locker("ian");
    let request = lock_request(third.1, 0, 10, WRITE, true);
    assert_eq!(rig.table.lock(third.0, request, rig.now), Reply::Now(Err(Refusal::TooManyWaiting)));
    rig.effects();
    first.into_iter().for_each(|by| rig.unlock(by, 0, 10));
    assert_eq!(answers(&rig.upcalls()), [(waiting, LOCKED)]);
}
