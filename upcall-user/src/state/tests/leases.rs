//! Grants and returns of leases.

use super::*;

#[test]
fn readers_share_and_a_writer_excludes() {
    let mut rig = Rig::new();
    let (_, _) = rig.holder("ann", R);
    let bob = rig.begin("bob");
    let open = rig.open(bob, 1, Access::Read);
    rig.lease(bob, open, R);
    assert_eq!(rig.table.census().leases, 2);
    let writer = rig.begin("cat");
    assert_eq!(rig.try_open(writer, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
}

#[test]
fn a_write_lease_is_refused_while_others_have_the_file_open() {
    let mut rig = Rig::new();
    let (ann, bob) = (rig.begin("ann"), rig.begin("bob"));
    let open = rig.open(ann, 1, Access::Both);
    let other = rig.open(bob, 1, Access::Read);
    assert_eq!(rig.try_lease(ann, open, W), Err(Refusal::Conflict(client("bob"))));
    rig.table.close(bob, other, rig.now).expect("closed");
    rig.lease(ann, open, W);
}

#[test]
fn an_upgrade_is_granted_when_nothing_else_conflicts() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Both);
    rig.lease(ann, open, R);
    rig.lease(ann, open, W);
    let lease = shown(&rig.table, FILE).opens[0].lease.clone().expect("both");
    assert_eq!((lease.reads, lease.writes), (1, 1));
}

#[test]
fn an_upgrade_beside_another_reader_recalls_that_one() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Both);
    rig.lease(ann, open, R);
    let bob = rig.begin("bob");
    // Opened under ann's own lease: one that only reads does not conflict with it.
    let other = rig.open(bob, 1, Access::Read);
    // Ann writes, so that bob gets no lease.
    assert_eq!(rig.try_lease(bob, other, R), Err(Refusal::Conflict(client("ann"))));
    let change = ChangeRequest { open, access: Access::Read, deny: Deny::None };
    let reply = rig.table.change(ann, change, rig.now);
    rig.finished(reply).expect("downgraded");
    rig.lease(bob, other, R);
    let reply = rig.table.change(ann, ChangeRequest { access: Access::Both, ..change }, rig.now);
    assert_eq!(rig.finished(reply), Err(Refusal::Recalling));
    assert_eq!(recalls(&rig.upcalls()), [(bob, Keep::None)]);
}

#[test]
fn a_downgrade_lets_readers_in() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Read, Deny::None), Err(Refusal::Recalling));
    assert_eq!(recalls(&rig.upcalls()), [(ann, Keep::Read)]);
    rig.give_back(ann, open, W, Keep::Read).expect("downgraded");
    rig.open(bob, 1, Access::Read);
    assert_eq!(rig.table.census().recalls, 0);
    let leases: Vec<_> = shown(&rig.table, FILE).opens.into_iter().filter_map(|open| open.lease).collect();
    assert_eq!((leases.len(), leases[0].reads, leases[0].writes), (1, 1, 0));
}

#[test]
fn what_an_open_cannot_carry_cannot_be_kept() {
    let mut rig = Rig::new();
    let ann = rig.begin("ann");
    let open = rig.open(ann, 1, Access::Write);
    assert_eq!(rig.try_lease(ann, open, R), Err(Refusal::NotCarried));
    rig.lease(ann, open, W);
    assert_eq!(rig.give_back(ann, open, W, Keep::Read), Err(Refusal::NotCarried));
    rig.give_back(ann, open, W, Keep::None).expect("returned");
}

#[test]
fn closing_gives_leases_back_and_ends_their_recall() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", W);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Both, Deny::None), Err(Refusal::Recalling));
    rig.table.close(ann, open, rig.now).expect("closed");
    rig.open(bob, 1, Access::Both);
    rig.effects();
    rig.pass(secs(200));
    assert_eq!(rig.upcalls(), []);
}

#[test]
fn nobody_is_granted_a_lease_while_one_is_recalled() {
    let mut rig = Rig::new();
    let (ann, open) = rig.holder("ann", R);
    let bob = rig.begin("bob");
    assert_eq!(rig.try_open(bob, 1, Access::Write, Deny::None), Err(Refusal::Recalling));
    // Neither to the holder, who would keep the others out for ever, nor to another reader.
    assert_eq!(rig.try_lease(ann, open, R), Err(Refusal::Recalling));
    let cat = rig.begin("cat");
    let third = rig.open(cat, 1, Access::Read);
    assert_eq!(rig.try_lease(cat, third, R), Err(Refusal::Recalling));
}

#[test]
fn leases_of_other_inodes_have_nothing_to_do_with_it() {
    let mut rig = Rig::new();
    rig.holder("ann", W);
    let bob = rig.begin("bob");
    let request = OpenRequest { inode: OTHER, ..open_request(1, Access::Both, Deny::None) };
    let reply = rig.table.open(bob, request, rig.now);
    let open = opened(rig.finished(reply)).expect("an open");
    rig.lease(bob, open, W);
}
