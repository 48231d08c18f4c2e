//! Names of entries on their way through the hub.

use smallvec::smallvec;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use upcall_common::{
    change::ENTRIES,
    wire::{EntryKind, EntryName, MAX_ENTRY_BYTES, MAX_ENTRY_NAMES, MAX_WAITING_BYTES},
};

use super::*;
use crate::sys::handle::FileHandle;

fn directory(number: u8) -> Directory {
    Directory { filesystem: 1, handle: FileHandle { handle_type: 1, bytes: smallvec![number] } }
}

fn entry(name: impl Into<Vec<u8>>) -> EntryName {
    EntryName {
        kind: EntryKind::Created,
        directory: false,
        handle_type: 1,
        handle: vec![1; 8],
        name: name.into(),
        new_name: None,
    }
}

fn named(number: u8, name: impl Into<Vec<u8>>, tgid: u32) -> Named {
    Named { directory: directory(number), entry: entry(name), tgid }
}

/// Interests in directories, and which of these have been released.
struct Naming {
    bench: Bench,
    client: ClientIndex,
    released: UnboundedReceiver<Directory>,
    interests: Vec<u64>,
}

impl Naming {
    /// One client that watches so many directories with names.
    fn new(directories: u8) -> Self {
        let mut bench = Bench::new(usize::from(directories), false);
        let client = bench.client();
        let (sender, released) = unbounded_channel();
        let mut interests = Vec::new();
        for number in 0..directories {
            let file = bench.file(number.into());
            let made = bench.watch(client, file, number.into(), ENTRIES | MODE).expect("watch");
            let mark = Arc::new(Mark::new(directory(number), sender.clone()));
            bench.hub.ask_names(made.interest, Waiting::new(Some(mark)));
            interests.push(made.interest);
        }
        Self { bench, client, released, interests }
    }

    fn name(&self, named: Named) {
        self.bench.hub.name(vec![named]);
    }

    /// Cookies, changes and names, and whether these are incomplete.
    fn told(&self) -> Vec<(u64, u32, Vec<Vec<u8>>, bool)> {
        let upcalls = self.bench.hub.take_upcalls(self.client, 1000, u64::MAX);
        let told = upcalls.into_iter().map(|Upcall { cookie, changes, names, .. }| {
            let entries = names.entries.into_iter().map(|entry| entry.name).collect();
            (cookie, changes, entries, names.incomplete)
        });
        told.collect()
    }
}

fn bytes(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

#[test]
fn names_go_with_the_news_that_waits_or_make_some() {
    let naming = Naming::new(2);
    naming.bench.model.mark(0, by_other(ENTRIES));
    naming.bench.dispatch();
    naming.name(named(0, "a", OTHER_PROCESS));
    naming.name(named(0, "b", OTHER_PROCESS));
    assert_eq!(naming.told(), [(0, ENTRIES, bytes(&["a", "b"]), false)]);
    naming.name(named(1, "c", OTHER_PROCESS));
    assert_eq!(naming.told(), [(1, ENTRIES, bytes(&["c"]), false)]);
    naming.name(named(9, "nobody's", OTHER_PROCESS));
    assert_eq!(naming.told(), []);
}

#[test]
fn directories_that_share_a_slot_share_no_names() {
    let mut naming = Naming::new(1);
    let file = naming.bench.files[0].as_fd();
    let wish = Wish { cookie: 7, mask: ENTRIES, include_own: false };
    let made = naming.bench.hub.register_one(naming.client, file, wish, None, 0).expect("register");
    let (sender, _released) = unbounded_channel();
    let mark = Arc::new(Mark::new(directory(70), sender));
    naming.bench.hub.ask_names(made.interest, Waiting::new(Some(mark)));
    naming.name(named(70, "b", OTHER_PROCESS));
    naming.name(named(0, "a", OTHER_PROCESS));
    let mut told = naming.told();
    told.sort();
    assert_eq!(told, [(0, ENTRIES, bytes(&["a"]), false), (7, ENTRIES, bytes(&["b"]), false)]);
    for interest in [naming.interests[0], made.interest] {
        naming.bench.hub.unregister(naming.client, interest).expect("unregister");
    }
    assert_eq!(naming.released.try_recv(), Ok(directory(0)));
    assert!(naming.bench.hub.lock().directories.is_empty(), "nothing is left of either");
}

#[test]
fn names_wait_for_news_of_entries() {
    let naming = Naming::new(1);
    naming.bench.model.mark(0, by_other(MODE));
    naming.bench.dispatch();
    assert_eq!(naming.told(), [(0, MODE, vec![], false)]);
    naming.bench.model.mark(0, by_other(MODE));
    naming.bench.dispatch();
    naming.name(named(0, "a", OTHER_PROCESS));
    assert_eq!(naming.told(), [(0, ENTRIES | MODE, bytes(&["a"]), false)]);
}

#[test]
fn versions_rise_with_names_that_come_late() {
    let naming = Naming::new(1);
    let version = || naming.bench.hub.take_upcalls(naming.client, 10, u64::MAX)[0].version;
    naming.bench.model.mark(0, by_other(ENTRIES));
    naming.bench.dispatch();
    let news = version();
    naming.name(named(0, "a", OTHER_PROCESS));
    assert!(version() > news);
}

#[test]
fn own_changes_are_not_named_to_who_does_not_want_to_hear_of_them() {
    let mut naming = Naming::new(1);
    naming.name(named(0, "mine", std::process::id()));
    assert_eq!(naming.told(), []);
    naming.name(named(0, "another's", OTHER_PROCESS));
    naming.name(named(0, "unknown", 0));
    assert_eq!(naming.told(), [(0, ENTRIES, bytes(&["another's", "unknown"]), false)]);
    let file = naming.bench.files.len() - 1;
    let file = naming.bench.files[file].as_fd();
    let wish = Wish { cookie: 7, mask: ENTRIES, include_own: true };
    let made = naming.bench.hub.register_one(naming.client, file, wish, None, 0).expect("register");
    let (sender, _released) = unbounded_channel();
    let mark = Arc::new(Mark::new(directory(0), sender));
    naming.bench.hub.ask_names(made.interest, Waiting::new(Some(mark)));
    naming.name(named(0, "mine", std::process::id()));
    assert_eq!(naming.told(), [(7, ENTRIES, bytes(&["mine"]), false)]);
    // The receiver is needed no more: what is said when nobody listens does no harm.
    naming.released.close();
}

#[test]
fn one_name_too_many_drops_all_of_the_interest_until_it_is_told() {
    let naming = Naming::new(2);
    for number in 0..=MAX_ENTRY_NAMES {
        assert_eq!(naming.bench.hub.lock().registry.pending_of(naming.client), usize::from(number > 0));
        naming.name(named(0, number.to_string(), OTHER_PROCESS));
    }
    naming.name(named(0, "later", OTHER_PROCESS));
    naming.name(named(1, "other", OTHER_PROCESS));
    assert_eq!(naming.told(), [(0, ENTRIES, vec![], true), (1, ENTRIES, bytes(&["other"]), false)]);
    naming.name(named(0, "again", OTHER_PROCESS));
    assert_eq!(naming.told(), [(0, ENTRIES, bytes(&["again"]), false)]);
}

#[test]
fn bytes_of_names_are_bounded_for_the_interest_and_for_the_client() {
    let long = vec![b'n'; 255];
    let size = entry(long.clone()).wire_len();
    let fill = |naming: &Naming, number, count| {
        (0..count).for_each(|_| naming.name(named(number, long.clone(), OTHER_PROCESS)));
    };
    let most = MAX_ENTRY_BYTES / size;
    let naming = Naming::new(1);
    fill(&naming, 0, most);
    assert_eq!(naming.told()[0].2.len(), most);
    fill(&naming, 0, most + 1);
    assert_eq!(naming.told(), [(0, ENTRIES, vec![], true)]);

    let directories = u8::try_from(MAX_WAITING_BYTES / (most * size) + 2).expect("few");
    let naming = Naming::new(directories);
    (0..directories).for_each(|number| fill(&naming, number, most));
    let told = naming.told();
    let waited: usize = told.iter().map(|(_, _, names, _)| names.len() * size).sum();
    assert!(waited <= MAX_WAITING_BYTES, "{waited} bytes waited");
    assert!(told.iter().any(|(_, _, _, incomplete)| *incomplete), "and the others are incomplete");
    // All room is free again.
    assert_eq!(naming.bench.hub.lock().registry.waiting_bytes_of(naming.client), 0);
    (0..directories).for_each(|number| fill(&naming, number, 1));
    assert!(naming.told().iter().all(|(_, _, names, incomplete)| names.len() == 1 && !incomplete));
}

#[test]
fn lost_names_make_everybody_incomplete() {
    let naming = Naming::new(2);
    naming.name(named(0, "a", OTHER_PROCESS));
    let slots = naming.bench.hub.named_slots();
    naming.bench.hub.lose_names(&slots);
    let mut told = naming.told();
    told.sort();
    assert_eq!(told, [(0, ENTRIES, vec![], true), (1, ENTRIES, vec![], true)]);
    assert_eq!(naming.told(), []);
}

#[test]
fn without_reports_every_news_of_entries_is_incomplete() {
    let mut bench = Bench::new(1, false);
    let (file, client) = (bench.file(1), bench.client());
    let made = bench.watch(client, file, 1, ENTRIES | MODE).expect("watch");
    bench.hub.ask_names(made.interest, Waiting::new(None));
    for (changes, incomplete) in [(ENTRIES, true), (MODE, false), (ENTRIES, true)] {
        bench.model.mark(1, by_other(changes));
        bench.dispatch();
        let upcalls = bench.hub.take_upcalls(client, 1, u64::MAX);
        assert_eq!((upcalls[0].changes, upcalls[0].names.incomplete), (changes, incomplete));
    }
}

#[test]
fn a_directory_is_released_with_its_interest() {
    let mut naming = Naming::new(2);
    naming.name(named(0, "a", OTHER_PROCESS));
    naming.bench.hub.unregister(naming.client, naming.interests[0]).expect("unregister");
    assert_eq!(naming.released.try_recv(), Ok(directory(0)));
    naming.name(named(0, "b", OTHER_PROCESS));
    assert_eq!(naming.told(), []);
    assert_eq!(naming.bench.hub.named_slots().len(), 1);
    naming.bench.hub.disconnect(naming.client);
    naming.bench.hub.tick();
    assert_eq!(naming.released.try_recv(), Ok(directory(1)));
}
