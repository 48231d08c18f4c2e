//! Interests made in batches.

use super::*;

fn wanted(bench: &Bench, file: usize, cookie: u64) -> Wanted<'_> {
    let wish = Wish { cookie, mask: ANY, include_own: false };
    Wanted { file: bench.files[file].as_fd(), origin: None, wish, lifetime: None, known: 0 }
}

/// The same file twice in one batch, one that the kernel does not know, and more than may be.
#[test]
fn each_of_a_batch_succeeds_or_fails_by_itself() {
    let mut bench = Bench::new(300, false);
    bench.hub.lock().limits.interests_per_client = 202;
    let files: Vec<usize> = (1..=200).map(|ino| bench.file(ino)).collect();
    bench.files.push(File::open("/dev/null").expect("file"));
    let unknown = bench.files.len() - 1;
    let (client, other) = (bench.client(), bench.client());
    bench.watch(other, files[9], 1000, ANY).expect("watch");
    let order = files[..100].iter().chain([&files[50], &unknown]).chain(&files[100..]).chain(&files[..2]);
    let batch = order.zip(0..).map(|(file, cookie)| wanted(&bench, *file, cookie)).collect();
    let made = bench.hub.register(client, batch);
    let failed: Vec<_> = (0..).zip(&made).filter_map(|(place, made)| Some((place, made.err()?))).collect();
    assert_eq!(failed, [(101, RegisterError::Unsupported), (203, RegisterError::Limit)]);
    let ids: std::collections::HashSet<_> = made.iter().flatten().map(|made| made.interest).collect();
    assert_eq!(ids.len(), 202);
    for ino in [1, 10, 51, 200] {
        bench.model.mark(ino, by_other(DATA));
    }
    bench.dispatch();
    let mut told: Vec<u64> =
        bench.hub.take_upcalls(client, 10, u64::MAX).iter().map(|it| it.cookie).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 9, 50, 100, 201, 202]);
}

#[test]
fn only_regular_files_and_directories_are_watched() {
    let mut bench = Bench::new(4, false);
    let file = bench.file(1);
    let client = bench.client();
    for (kind, watched) in [(0o040_000, true), (0o010_000, false), (0o120_000, false), (0o100_000, true)] {
        bench.model.edit(1, |probe| probe.attrs.mode = kind | 0o644);
        assert_eq!(bench.watch(client, file, 1, ANY).is_ok(), watched, "{kind:o}");
    }
}

/// Register, then read: what happens between the looks is told, and the attributes are not of that version.
#[test]
fn a_change_while_an_interest_is_made_is_told() {
    let mut bench = Bench::new(4, false);
    let (client, file) = (bench.client(), bench.file(1));
    bench.model.world.lock().expect("world").meanwhile =
        [|_: &Model| (), |model: &Model| assert!(model.mark(1, by_other(DATA)))]
            .map(|it| it as fn(&Model))
            .into();
    let made = bench.watch(client, file, 1, ANY).expect("watch");
    assert_eq!(made.attrs, None);
    bench.dispatch();
    let told = bench.hub.take_upcalls(client, 10, u64::MAX);
    assert!(told.iter().any(|told| told.changes == DATA && told.version > made.version), "{told:?}");
}

#[test]
fn an_inode_that_is_not_there_at_the_second_look_leaves_nothing_behind() {
    let mut bench = Bench::new(4, false);
    let (client, file) = (bench.client(), bench.file(1));
    bench.model.world.lock().expect("world").meanwhile =
        [|model: &Model| model.world.lock().expect("world").inodes.clear()].map(|it| it as fn(&Model)).into();
    assert_eq!(bench.watch(client, file, 1, ANY), Err(RegisterError::Unsupported));
    assert!(bench.model.is_empty() && bench.hub.is_empty());
    assert_eq!(bench.hub.lock().registry.interests_of(client), 0);
}
