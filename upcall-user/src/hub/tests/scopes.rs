//! What lies below directories.

use std::{
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use upcall_common::{
    abi::{Attrs, Child as Record, Key, Slot},
    change::RESCAN,
};

use super::*;
use crate::hub::scopes::place::tests::words;

const DIRECTORY: u64 = 1;
const PENDING: usize = offset_of!(Slot, pending) / 8;
const STATE: usize = offset_of!(Record, state) / 8;
const PLACE: usize = offset_of!(Record, place) / 8;

impl Model {
    /// What `see()` does for an inode that is at `path` below the directory, or in no scope. The child, if it is newly
    /// dirty; `None` as well if there is none left.
    fn mark_below(&self, ino: u64, path: Option<&str>, word: Word) -> Option<u32> {
        let mut world = self.world.lock().expect("world");
        let key = Key::new(1, ino);
        let child = match world.children.get(&key) {
            Some(child) => *child,
            None => {
                let child = world.free.pop()?;
                let record = &self.pool[child as usize];
                let state = if path.is_some() { Record::PLACED } else { Record::UNPLACED };
                for (at, value) in [
                    (offset_of!(Slot, key) / 8, key.words()[0]),
                    (offset_of!(Slot, key) / 8 + 1, key.words()[1]),
                    (offset_of!(Slot, generation) / 8, 1),
                    (offset_of!(Slot, inode) / 8, ino),
                    (STATE, state),
                ] {
                    record[at].store(value, SeqCst);
                }
                let attrs = world.inodes.values().find(|probe| probe.key == key).map(|probe| probe.attrs);
                for (at, word) in attrs.map(Attrs::words).into_iter().flatten().enumerate() {
                    record[offset_of!(Slot, attrs) / 8 + at].store(word, SeqCst);
                }
                for (at, word) in path.map(place).into_iter().flatten().enumerate() {
                    record[PLACE + at].store(word, SeqCst);
                }
                world.children.insert(key, child);
                child
            }
        };
        (self.pool[child as usize][PENDING].fetch_or(word.0, SeqCst) == 0).then_some(child)
    }

    /// The inode is there now.
    fn put(&self, ino: u64, path: Option<&str>) {
        let located = path.and_then(|path| {
            let words: Vec<AtomicU64> = place(path).into_iter().map(AtomicU64::new).collect();
            Located::read(&words)
        });
        self.world.lock().expect("world").places.insert(ino, located.into_iter().collect());
    }

    fn free(&self) -> usize {
        self.world.lock().expect("world").free.len()
    }
}

/// For who takes children from the hub.
impl Model {
    pub(crate) fn become_directory(&self, ino: u64) {
        self.edit(ino, |probe| probe.attrs.mode = 0o040_755);
    }

    /// Something changes at a path below the directory.
    pub(crate) fn change_below(&self, hub: &Hub, ino: u64, path: &str) {
        self.put(ino, Some(path));
        let _ = hub.take_changed_children(self.mark_below(ino, Some(path), by_other(DATA)));
    }
}

/// At a path below the directory, whose slot is the first.
fn place(path: &str) -> Vec<u64> {
    let mut names: Vec<&str> = path.split('/').collect();
    names.reverse();
    let count = u32::try_from(names.len()).expect("few");
    names.push("srv");
    words(&names, &[(0, count)], false)
}

/// A client that is interested in what lies below the directory.
fn below(early: bool, scope: Scope) -> (Bench, ClientIndex) {
    let mut bench = Bench::new(4, early);
    let (file, client) = (bench.file(DIRECTORY), bench.client());
    bench.model.become_directory(DIRECTORY);
    for ino in [20, 21] {
        bench.file(ino);
    }
    let wish = Wish { cookie: 10, mask: ANY, include_own: false, scope };
    bench.hub.register_one(client, bench.files[file].as_fd(), wish, None, 0).expect("watch");
    (bench, client)
}

impl Bench {
    /// As the dispatcher does.
    fn dispatch_below(&self, child: Option<u32>) {
        let _ = self.hub.take_changed_children(child);
    }

    fn told_below(&self, client: ClientIndex) -> Vec<(Fate, String, Option<String>, u32)> {
        let text = |path: Vec<u8>| String::from_utf8(path).expect("text");
        let children = self.hub.take_children(client, 100, u64::MAX);
        children.into_iter().map(|it| (it.fate, text(it.path), it.old_path.map(text), it.changes)).collect()
    }

    fn told_rescan(&self, client: ClientIndex) -> bool {
        self.hub.take_upcalls(client, 10, u64::MAX).iter().any(|it| it.changes & RESCAN != 0)
    }
}

#[test]
fn a_change_below_is_told_once_with_its_path_and_the_child_is_given_back() {
    let (bench, client) = below(false, Scope::Subtree);
    bench.model.put(20, Some("a/b"));
    let child = bench.model.mark_below(20, Some("a/b"), by_other(DATA));
    assert_eq!(bench.model.mark_below(20, Some("a/b"), by_other(MODE)), None);
    bench.dispatch_below(child);
    assert_eq!(bench.told_below(client), [(Fate::Stays, "a/b".into(), None, DATA | MODE)]);
    assert_eq!((bench.told_below(client), bench.model.free()), (vec![], 7));
    std::thread::sleep(Duration::from_millis(11));
    bench.hub.tick();
    assert_eq!(bench.model.free(), 8);
}

/// It is marked before it is visible: it is told once the tick is over, and where it is then.
#[test]
fn an_early_mark_is_told_when_it_has_settled() {
    let (bench, client) = below(true, Scope::Subtree);
    let child = bench.model.mark_below(20, Some("old"), by_other(MODE));
    bench.dispatch_below(child);
    assert_eq!(bench.told_below(client), []);
    bench.model.put(20, Some("sub/new"));
    bench.settle();
    assert_eq!(bench.told_below(client), [(Fate::Stays, "sub/new".into(), Some("old".into()), MODE)]);
}

#[test]
fn an_inode_comes_into_the_scope_and_leaves_it() {
    let (bench, client) = below(true, Scope::Subtree);
    bench.dispatch_below(bench.model.mark_below(20, None, by_other(NLINK)));
    bench.model.put(20, Some("in"));
    bench.settle();
    assert_eq!(bench.told_below(client), [(Fate::Appeared, "in".into(), None, NLINK)]);
    bench.dispatch_below(bench.model.mark_below(20, Some("in"), by_other(NLINK)));
    bench.model.put(20, None);
    bench.settle();
    assert_eq!(bench.told_below(client), [(Fate::Gone, "in".into(), None, NLINK)]);
}

#[test]
fn what_waits_for_a_client_is_merged() {
    let (bench, client) = below(true, Scope::Subtree);
    for (from, to) in [(None, Some("a")), (Some("a"), Some("b")), (Some("b"), Some("c"))] {
        bench.dispatch_below(bench.model.mark_below(20, from, by_other(MODE)));
        bench.model.put(20, to);
        bench.settle();
    }
    assert_eq!(bench.told_below(client), [(Fate::Appeared, "c".into(), None, MODE)]);
    for (from, to) in [(Some("c"), Some("d")), (Some("d"), Some("e"))] {
        bench.dispatch_below(bench.model.mark_below(20, from, by_other(MODE)));
        bench.model.put(20, to);
        bench.settle();
    }
    assert_eq!(bench.told_below(client), [(Fate::Stays, "e".into(), Some("c".into()), MODE)]);
}

#[test]
fn children_are_what_lies_directly_in_the_directory() {
    let (bench, client) = below(false, Scope::Children);
    bench.model.put(20, Some("a/b"));
    bench.dispatch_below(bench.model.mark_below(20, Some("a/b"), by_other(DATA)));
    bench.model.put(21, Some("c"));
    bench.dispatch_below(bench.model.mark_below(21, Some("c"), by_other(DATA)));
    assert_eq!(bench.told_below(client), [(Fate::Stays, "c".into(), None, DATA)]);
}

/// Out of memory it may exist all the same: whoever tells it looks.
#[test]
fn what_is_out_of_memory_is_told_where_it_was() {
    let (bench, client) = below(true, Scope::Subtree);
    bench.dispatch_below(bench.model.mark_below(20, Some("a"), by_other(NLINK)));
    bench.model.evict(20);
    bench.settle();
    assert_eq!(bench.told_below(client), [(Fate::Stays, "a".into(), None, NLINK)]);
    // Of this one nobody knows where it was.
    assert!(!bench.told_rescan(client));
    bench.dispatch_below(bench.model.mark_below(21, None, by_other(NLINK)));
    bench.model.evict(21);
    bench.settle();
    assert!(bench.told_below(client).is_empty() && bench.told_rescan(client));
    // This one has been removed where nobody is interested in it.
    let probe = Probe { key: Key::new(1, 20), generation: 1, ..Probe::default() };
    bench.model.world.lock().expect("world").remains.insert(20, probe);
    bench.dispatch_below(bench.model.mark_below(20, None, by_other(NLINK)));
    bench.settle();
    assert!(bench.told_below(client).is_empty() && !bench.told_rescan(client));
}

#[test]
fn own_changes_and_those_not_asked_for_are_not_told() {
    let (bench, client) = below(false, Scope::Subtree);
    bench.model.put(20, Some("a"));
    bench.dispatch_below(bench.model.mark_below(20, Some("a"), Word::of_process(DATA, std::process::id())));
    bench.dispatch_below(bench.model.mark_below(20, Some("a"), by_other(VOLATILE)));
    assert_eq!(bench.told_below(client), []);
}

/// A mark that comes when the child is being given up is told as well.
#[test]
fn a_barrier_takes_what_the_ring_has_not_named() {
    let (bench, client) = below(true, Scope::Subtree);
    bench.model.put(20, Some("a"));
    bench.model.mark_below(20, Some("a"), by_other(DATA));
    assert_eq!(bench.hub.catch_up_children(0), None);
    assert_eq!(bench.told_below(client), [(Fate::Stays, "a".into(), None, DATA)]);
}

#[test]
fn without_a_scope_nothing_below_is_marked() {
    let (bench, client) = below(false, Scope::Subtree);
    assert_eq!(bench.model.world.lock().expect("world").scoped, [1]);
    bench.hub.disconnect(client);
    bench.hub.tick();
    assert!(bench.model.world.lock().expect("world").scoped.is_empty());
}

#[test]
fn only_a_directory_has_anything_below() {
    let mut bench = Bench::new(4, false);
    let (file, client) = (bench.file(1), bench.client());
    let wish = Wish { cookie: 10, mask: ANY, include_own: false, scope: Scope::Children };
    let made = bench.hub.register_one(client, bench.files[file].as_fd(), wish, None, 0);
    assert_eq!(made, Err(RegisterError::Unsupported));
}

/// What was taken and could not be told makes the client look itself, and so does the pool when it is empty.
#[test]
fn what_cannot_be_told_makes_clients_look_themselves() {
    let (bench, client) = below(false, Scope::Subtree);
    bench.model.put(20, Some("a"));
    bench.dispatch_below(bench.model.mark_below(20, Some("a"), by_other(DATA)));
    let child = bench.hub.take_children(client, 1, u64::MAX).pop().expect("a child");
    assert!(!bench.told_rescan(client));
    bench.hub.rescan(client, child.interest);
    bench.hub.children_told(client);
    let told = bench.hub.take_upcalls(client, 10, u64::MAX);
    assert!(told.iter().any(|it| it.changes & RESCAN != 0 && it.version > child.version), "{told:?}");
    bench.model.world.lock().expect("world").rescan = true;
    bench.dispatch_below(None);
    assert!(bench.told_rescan(client) && !bench.told_rescan(client));
}

/// A client that holds a version has been told all that it covers.
#[test]
fn no_version_is_told_that_covers_a_child_which_has_not_been() {
    let (bench, client) = below(false, Scope::Subtree);
    let change = |ino, path| bench.model.change_below(&bench.hub, ino, path);
    let own = || {
        bench.model.mark(DIRECTORY, by_other(MODE));
        bench.hub.dispatch(bench.model.take_dirty());
        bench.hub.take_upcalls(client, 10, u64::MAX)[0].version
    };
    let take = |max| bench.hub.take_children(client, max, u64::MAX);
    let before = own();
    change(20, "a");
    change(21, "b");
    change(20, "a");
    assert!(own() <= before, "both wait");
    let first = take(1);
    assert_eq!(first[0].path, b"a");
    assert!(first[0].version <= before, "one waits, older than the last change of this one");
    change(20, "a");
    let rest = take(10);
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|child| child.version == rest[0].version && child.version > before));
    assert!(own() <= before, "they are on their way");
    bench.hub.children_told(client);
    assert!(own() > rest[0].version);
}
