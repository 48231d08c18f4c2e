//! Inodes that end, and those that only seem to.

use super::*;

fn deleted(bench: &Bench, gone: &[Gone]) {
    assert!(gone.iter().all(|gone| gone.unlinked));
    gone.iter().for_each(|gone| bench.hub.deleted(gone));
}

#[test]
fn an_unlinked_inode_is_told_until_it_is_gone_and_then_forgotten() {
    for early in [true, false] {
        let (bench, _, client) = Bench::watching(early, ANY);
        bench.model.edit(1, |probe| probe.attrs.nlink = 0);
        bench.model.mark(1, by_other(NLINK));
        bench.dispatch();
        bench.pass(1);
        assert_eq!(bench.hub.tick(), []);
        assert_eq!(bench.told(client), [(10, NLINK)], "somebody has it open");
        bench.model.mark(1, by_other(DATA));
        bench.dispatch();
        bench.settle();
        assert_eq!(bench.told(client), [(10, DATA)]);
        assert_eq!(bench.hub.status().unsettled, 0);
        for _ in 0..3 {
            bench.pass(1_000_000_000 / TICK);
            assert_eq!(bench.hub.tick(), []);
        }
        bench.model.evict(1);
        bench.pass(1_000_000_000 / TICK);
        deleted(&bench, &bench.hub.tick());
        let upcalls = bench.hub.take_upcalls(client, 100, u64::MAX);
        assert_eq!(upcalls.iter().map(|it| (it.changes, it.ended)).collect::<Vec<_>>(), [(FORGET, true)]);
        assert_eq!((bench.hub.status().slots_used, bench.hub.schedule().settle_in), (0, None));
    }
}

#[test]
fn an_inode_that_was_unlinked_before_it_was_watched_is_forgotten_too() {
    let mut bench = Bench::new(4, false);
    let file = bench.file(1);
    let client = bench.client();
    bench.model.edit(1, |probe| probe.attrs.nlink = 0);
    bench.watch(client, file, 10, ANY).expect("watch");
    bench.model.evict(1);
    bench.pass(1);
    deleted(&bench, &bench.hub.tick());
    assert_eq!(bench.told(client), [(10, FORGET)]);
}

#[test]
fn the_new_owner_of_a_number_has_nothing_to_do_with_the_old_interest() {
    let mut bench = Bench::new(4, false);
    let old = bench.file(1);
    let (slow, client) = (bench.client(), bench.client());
    bench.watch(slow, old, 10, ANY).expect("watch");
    bench.model.mark(1, by_other(FORGET));
    bench.dispatch();
    // The client has not taken its upcall yet, and some filesystems give all inodes one generation.
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    bench.watch(client, old, 20, ANY).expect("watch the new one");
    bench.model.mark(1, by_other(DATA));
    bench.dispatch();
    assert_eq!(bench.told(slow), [(10, FORGET)]);
    assert_eq!(bench.told(client), [(20, DATA)]);
    assert_eq!(bench.hub.status().slots_used, 1);
}

#[test]
fn inodes_of_an_unmounted_filesystem_are_forgotten_unless_they_live() {
    let mut bench = Bench::new(2 * STEP, false);
    let client = bench.client();
    bench.hub.lock().limits.interests_per_client = 2 * STEP;
    let count = STEP as u64 + 10;
    for ino in 1..=count {
        let file = bench.file(ino);
        bench.watch(client, file, ino, ANY).expect("watch");
        bench.model.evict(ino);
    }
    let lives = bench.file(count + 1);
    bench.watch(client, lives, count + 1, ANY).expect("watch");
    assert_eq!(bench.hub.devices(), [1]);
    let unmounted = |bench: &Bench| {
        let (mut next, mut steps, mut alive) = (Some(0), 0, 0);
        while let Some(from) = next {
            let look = bench.hub.unmounted(1, from);
            (next, steps, alive) = (look.next, steps + 1, alive + look.alive);
        }
        (steps, alive)
    };
    assert_eq!(unmounted(&bench), (2, 1));
    let upcalls = bench.hub.take_upcalls(client, usize::MAX, u64::MAX);
    assert!(upcalls.iter().map(|it| it.cookie).eq(1..=count));
    assert!(upcalls.iter().all(|it| it.changes == FORGET && it.ended));
    assert_eq!(bench.hub.status().slots_used, 1);
    bench.model.evict(count + 1);
    assert_eq!(unmounted(&bench), (2, 0));
    assert_eq!(bench.told(client), [(count + 1, FORGET)]);
    assert!(bench.hub.devices().is_empty());
}

#[test]
fn an_inode_that_is_found_again_is_still_watched() {
    let (bench, file, _) = Bench::watching(false, ANY);
    bench.model.evict(1);
    let look = bench.hub.look(1, 0);
    let [gone] = look.gone.as_slice() else { panic!("{look:?}") };
    bench.model.edit(1, |probe| probe.inode = 77);
    assert_eq!(bench.hub.look(1, 0).alive, 0, "nobody has said where it is now");
    assert_eq!(bench.hub.found(gone, bench.files[file].as_fd()), Some(true));
    assert_eq!((bench.hub.look(1, 0).alive, bench.hub.look(2, 0).alive), (1, 0));
    bench.model.edit(1, |probe| probe.generation = 2);
    let found = bench.hub.found(gone, bench.files[file].as_fd());
    assert_eq!(found, Some(false), "another inode of that number");
}
