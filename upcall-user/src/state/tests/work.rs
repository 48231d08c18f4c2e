//! What is much is done in steps.

use super::{super::table::STEP, *};

/// What one appointment may do beyond a step: to try what waits for an inode, here few.
const ONE: u64 = 8;

/// Steps until nothing is due any more; none does more than it may.
fn work_off(rig: &mut Rig) -> u32 {
    let mut steps = 0;
    while rig.table.next_deadline().is_some_and(|due| due <= rig.now) {
        let before = rig.table.work;
        rig.pass(Duration::ZERO);
        assert!(rig.table.work - before <= STEP + ONE, "{} at once", rig.table.work - before);
        steps += 1;
    }
    steps
}

/// A client with more opens than are closed in a step, of two files.
fn with_many_opens(rig: &mut Rig) -> (ClientId, Vec<OpenId>) {
    let ann = rig.begin("ann");
    let inodes = [FILE, OTHER].into_iter().cycle().take(4 * STEP as usize);
    let opens = inodes.map(|inode| {
        let request = OpenRequest { inode, ..open_request(1, Access::Both, Deny::None) };
        let reply = rig.table.open(ann, request, rig.now);
        opened(rig.finished(reply)).expect("an open")
    });
    let opens = opens.collect();
    rig.effects();
    (ann, opens)
}

fn done_by(rig: &mut Rig, call: impl FnOnce(&mut Rig)) -> u64 {
    let before = rig.table.work;
    call(rig);
    rig.table.work - before
}

#[test]
fn a_disconnection_costs_the_same_however_much_is_open() {
    let mut rig = Rig::new();
    let (ann, _) = with_many_opens(&mut rig);
    let waiting = rig.begin("bob");
    let request = open_request(1, Access::Both, Deny::Write);
    assert!(matches!(rig.table.open(waiting, request, rig.now), Reply::Now(Err(Refusal::Conflict(_)))));
    assert_eq!(done_by(&mut rig, |rig| rig.disconnect(ann)), 0);
    rig.pass(secs(14));
    assert_eq!(rig.table.census().opens, 4 * STEP as usize);
    rig.now += secs(1);
    assert!(work_off(&mut rig) >= 4);
    assert_eq!(rig.table.census().opens, 0);
}

#[test]
fn what_was_not_reclaimed_ends_in_steps() {
    let mut rig = Rig::new();
    let (ann, opens) = with_many_opens(&mut rig);
    rig.lease(ann, opens[0], W);
    rig.disconnect(ann);
    rig.begin("ann");
    // A quarter, and of those no lease.
    for open in opens.iter().step_by(4) {
        let request = OpenRequest { reclaim: Some(*open), ..open_request(1, Access::Both, Deny::None) };
        assert!(matches!(rig.table.open(ann, request, rig.now), Reply::Now(Ok(_))));
    }
    let now = rig.now;
    let done = done_by(&mut rig, |rig| rig.table.reclaimed(ann, now).expect("begun"));
    assert!(done <= STEP + ONE, "{done} at once");
    assert!(work_off(&mut rig) >= 3);
    assert_eq!((rig.table.census().opens, rig.table.census().leases), (STEP as usize, 0));
    // They are like any other by now.
    assert_eq!(done_by(&mut rig, |rig| rig.table.reclaimed(ann, now).expect("begun")), 1);
    assert_eq!(rig.table.census().opens, STEP as usize);
}

#[test]
fn requests_that_end_with_their_connection_let_others_go_on_in_steps() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    // In each file bob waits for ann, and many behind bob for him.
    let inodes: Vec<InodeId> = (0..100).map(InodeId).collect();
    let mut waits = Vec::new();
    for &inode in &inodes {
        let mut opened = |by: ClientId| {
            let request = OpenRequest { inode, ..open_request(1, Access::Both, Deny::None) };
            let reply = rig.table.open(by, request, rig.now);
            opened(rig.finished(reply)).expect("an open")
        };
        let (held, wanted) = (opened(ann), opened(bob));
        let mut lock = |by, open, owner, kind, wait| {
            let request = LockRequest { owner, ..lock_request(open, 0, 1, kind, wait) };
            rig.table.lock(by, request, rig.now)
        };
        let reply = lock(ann, held, 0, LockKind::Read, false);
        assert!(rig.answer(reply).is_ok());
        let mut lock = |by, open, owner, kind| {
            let request = LockRequest { owner, ..lock_request(open, 0, 1, kind, true) };
            rig.table.lock(by, request, rig.now)
        };
        assert!(matches!(lock(bob, wanted, 1, LockKind::Write), Reply::Later(_)));
        // Each of another owner, and for the same.
        waits.extend((2..7).map(|owner| lock(ann, held, owner, LockKind::Read)));
    }
    rig.effects();
    let done = done_by(&mut rig, |rig| rig.disconnect(bob));
    assert!(done <= inodes.len() as u64 + STEP + ONE, "{done} at once");
    rig.effects();
    work_off(&mut rig);
    rig.effects();
    assert_eq!((waits.len(), rig.table.census().waiting), (500, 0));
}
