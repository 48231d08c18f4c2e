//! Clients that come back, to the same daemon or to the next one.

use super::*;

/// When the earlier daemon's programs gave way: after all inodes were last changed.
const SINCE: (i64, u32) = (1, 0);

impl Bench {
    /// The daemon is killed, and another takes its maps over.
    fn successor(&mut self, gap: bool) {
        let (limits, pace) = (limits(), pace());
        self.hub = Hub::new(Box::new(self.model.clone()), self.model.slots(), pace, limits);
        self.hub.adopt(gap, SINCE).expect("the model's maps");
        self.hub.scan();
    }

    /// Registers with a version that the client holds; whether nothing has changed since.
    fn unchanged(&self, client: ClientIndex, file: usize, known: u64) -> bool {
        self.again(client, file, known).unchanged
    }

    fn again(&self, client: ClientIndex, file: usize, known: u64) -> Registered {
        let file = self.files[file].as_fd();
        let wish = Wish { cookie: 1, mask: ANY, include_own: false };
        self.hub.register_one(client, file, wish, None, known).expect("registered")
    }

    /// The client's connection breaks, and its interests are taken away.
    fn cut(&self, client: ClientIndex) {
        self.hub.disconnect(client);
        for _ in 0..3 {
            self.hub.tick();
        }
    }
}

/// A bench with a file that is watched and at rest, and its version.
fn watched(early: bool) -> (Bench, usize, ClientIndex, u64) {
    let mut bench = Bench::new(1024, early);
    let file = bench.file(1);
    let client = bench.client();
    let version = bench.watch(client, file, 1, ANY).expect("watch").version;
    (bench, file, client, version)
}

#[test]
fn a_successor_knows_what_has_not_changed() {
    for early in [false, true] {
        let (mut bench, file, _, version) = watched(early);
        if !early {
            bench.model.store_attrs(1);
        }
        bench.successor(false);
        let client = bench.client();
        assert!(bench.unchanged(client, file, version), "early: {early}");
        bench.model.mark(1, by_other(DATA));
        bench.dispatch();
        assert_eq!(bench.told(client), [(1, DATA)], "and goes on from there");
    }
}

#[test]
fn a_successor_knows_what_has_changed_meanwhile() {
    let (mut bench, file, _, version) = watched(true);
    bench.model.mark(1, by_other(DATA));
    bench.successor(false);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
}

#[test]
fn what_was_told_before_it_was_visible_counts_as_changed() {
    let (mut bench, file, client, _) = watched(true);
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    let upcalls = bench.hub.take_upcalls(client, 10, u64::MAX);
    let version = upcalls.first().expect("an upcall").version;
    // Its trailing edge never comes.
    bench.successor(false);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
    bench.settle();
    assert_ne!(bench.told(client), [], "the successor has it");
}

#[test]
fn what_only_the_net_saw_counts_as_changed() {
    for taken in [true, false] {
        let (mut bench, file, _, version) = watched(false);
        bench.model.store_attrs(1);
        bench.model.net(1, 5);
        if taken {
            bench.dispatch();
        }
        bench.successor(false);
        let client = bench.client();
        assert!(!bench.unchanged(client, file, version), "taken: {taken}");
    }
}

#[test]
fn versions_of_a_successor_are_apart_from_those_that_it_took_over() {
    let (mut bench, _, _, version) = watched(true);
    bench.successor(false);
    let (client, other) = (bench.client(), bench.file(2));
    let new = bench.watch(client, other, 2, ANY).expect("watch").version;
    assert!(new >= version + (1 << 24), "{new} after {version}");
}

#[test]
fn after_a_gap_nothing_counts_as_unchanged() {
    let (mut bench, file, _, version) = watched(true);
    bench.successor(true);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
    let now = bench.again(client, file, 0).version;
    assert!(bench.unchanged(client, file, now), "but from here on");
    bench.hub.distrust(0);
    assert!(!bench.unchanged(client, file, now), "until the next one");
}

#[test]
fn an_inode_that_is_not_as_it_was_left_counts_as_changed() {
    let (mut bench, file, _, version) = watched(true);
    // As when an older copy of the filesystem is mounted under the same device number.
    bench.model.edit(1, |probe| probe.attrs.size = 77);
    bench.successor(false);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
}

#[test]
fn a_number_with_a_new_owner_is_not_taken_over() {
    let (mut bench, file, _, version) = watched(true);
    bench.model.edit(1, |probe| probe.generation = 2);
    bench.successor(false);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
    assert!(bench.again(client, file, 0).version > version, "and versions do not fall");
}

#[test]
fn what_nobody_claims_is_let_go() {
    let (mut bench, file, _, version) = watched(true);
    let mut hurried = pace();
    hurried.grace = Duration::ZERO;
    bench.hub = Hub::new(Box::new(bench.model.clone()), bench.model.slots(), hurried, limits());
    assert_eq!(bench.hub.adopt(false, SINCE).expect("the model's maps"), 1);
    assert!(bench.hub.schedule().expire_at.is_some());
    bench.hub.tick();
    assert!(bench.hub.is_empty() && bench.model.is_empty());
    let client = bench.client();
    let again = bench.again(client, file, version);
    assert!(!again.unchanged && again.version > version, "versions do not repeat: {again:?}");
}

#[test]
fn a_client_whose_connection_broke_learns_what_changed_meanwhile() {
    let (mut bench, a, client, version) = watched(true);
    let b = bench.file(2);
    let other = bench.watch(client, b, 2, ANY).expect("watch").version;
    bench.cut(client);
    assert_eq!((bench.hub.status().slots_used, bench.hub.status().unclaimed), (0, 2));
    bench.model.mark(2, by_other(DATA));
    bench.dispatch();
    let client = bench.client();
    assert!(bench.unchanged(client, a, version));
    assert!(!bench.unchanged(client, b, other));
    assert_eq!((bench.hub.status().slots_used, bench.hub.status().unclaimed), (2, 0));
}

#[test]
fn what_waits_for_its_client_makes_room_for_others() {
    let mut bench = Bench::new(128, true);
    let client = bench.client();
    let files: Vec<_> = (1..=60).map(|ino| bench.file(ino)).collect();
    for file in &files {
        bench.watch(client, *file, 1, ANY).expect("watch");
    }
    bench.cut(client);
    assert_eq!(bench.hub.status().unclaimed, 60);
    let client = bench.client();
    for ino in 101..=160 {
        let file = bench.file(ino);
        bench.watch(client, file, 1, ANY).expect("room");
    }
    let status = bench.hub.status();
    assert_eq!(status.slots_used, 60);
    assert!(status.unclaimed < 60, "{}", status.unclaimed);
}

#[test]
fn an_inode_that_a_client_brings_back_while_it_is_taken_for_gone_is_not_forgotten() {
    let (mut bench, file, _, version) = watched(true);
    bench.model.evict(1);
    bench.successor(false);
    let look = bench.hub.look(1, 0);
    let [gone] = look.gone.as_slice() else { panic!("{look:?}") };
    bench.model.edit(1, |probe| probe.inode = 77);
    let client = bench.client();
    bench.again(client, file, version);
    bench.hub.deleted(gone);
    assert_eq!(bench.told(client), []);
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(client), [(1, DATA)]);
}

#[test]
fn an_inode_that_ends_while_nobody_is_there_takes_its_slot_with_it() {
    let (mut bench, _, client, _) = watched(false);
    bench.cut(client);
    bench.model.mark(1, by_other(FORGET));
    bench.dispatch();
    assert!(bench.hub.is_empty() && bench.model.is_empty());
    bench.successor(false);
    assert!(bench.hub.is_empty());
}

#[test]
fn what_is_under_way_while_programs_give_way_counts_as_changed_and_is_told_at_its_end() {
    let (mut bench, file, _, version) = watched(false);
    bench.model.store_attrs(1);
    bench.model.edit(1, |probe| probe.busy = BUSY_WRITER);
    bench.successor(false);
    bench.model.edit(1, |probe| probe.busy = 0);
    let client = bench.client();
    assert!(!bench.unchanged(client, file, version));
    bench.settle();
    assert_ne!(bench.told(client), [], "its end");
}

#[test]
fn a_change_that_ended_unmarked_may_have_the_stamp_of_the_last_one() {
    for (stamp, unchanged) in [((0, 999), true), (SINCE, false)] {
        let (mut bench, file, _, version) = watched(false);
        bench.model.edit(1, |probe| (probe.attrs.ctime_sec, probe.attrs.ctime_nsec) = stamp);
        bench.model.store_attrs(1);
        bench.successor(false);
        let client = bench.client();
        assert_eq!(bench.unchanged(client, file, version), unchanged, "{stamp:?}");
    }
}
