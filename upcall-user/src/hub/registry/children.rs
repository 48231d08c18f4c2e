//! The registry's part in what lies below directories: which interests are told of a child, and what waits for a client.

use std::collections::{BTreeMap, HashMap};

use upcall_common::{
    abi::Attrs,
    change::{ALWAYS, RESCAN},
};

use super::{ClientIndex, InterestIndex, Registry, Wish};
use crate::hub::{
    Child, Fate, Scope,
    scopes::{Below, Changed, ChildKey},
};

/// Most children that wait for a client, and most bytes of their paths: whoever has more waiting is told to look itself.
const MOST: usize = 65_536;
const MOST_BYTES: usize = 16 << 20;

type Waits = (InterestIndex, ChildKey);

/// What waits for a client.
#[derive(Debug, Default)]
pub(super) struct Children {
    waiting: HashMap<Waits, Waiting>,
    queue: BTreeMap<u64, Waits>,
    bytes: usize,
    /// Of interests with children that have not been told: a version that covers none of these. A client that holds a
    /// version has been told everything up to it.
    covered: HashMap<InterestIndex, u64>,
    /// Of interests that wait because of the directory's own changes: the version of the first of these.
    own: HashMap<InterestIndex, u64>,
}

#[derive(Debug)]
struct Waiting {
    turn: u64,
    changes: u32,
    version: u64,
    directory: bool,
    links: bool,
    attrs: Option<Attrs>,
    fate: Fate,
    path: Vec<u8>,
    old_path: Option<Vec<u8>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.path.len() + self.old_path.as_ref().map_or(0, Vec::len)
    }

    /// The same child's next change.
    fn and(self, next: Self) -> Self {
        let fate = match (self.fate, next.fate) {
            (_, Fate::Gone) => Fate::Gone,
            (Fate::Appeared, _) => Fate::Appeared,
            (Fate::Gone, Fate::Appeared) | (Fate::Stays, _) | (Fate::Gone, Fate::Stays) => Fate::Stays,
        };
        // Where it was when it was told last.
        let moved = self.path != next.path && self.fate != Fate::Appeared;
        let old_path = self.old_path.or(moved.then_some(self.path)).filter(|old| *old != next.path);
        Self { turn: self.turn, changes: self.changes | next.changes, fate, old_path, ..next }
    }
}

impl Children {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn remove(&mut self, key: &Waits) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        self.queue.remove(&waiting.turn);
        self.bytes -= waiting.bytes();
        Some(waiting)
    }

    fn insert(&mut self, key: Waits, waiting: Waiting) {
        self.covered.entry(key.0).or_insert(waiting.version.saturating_sub(1));
        self.bytes += waiting.bytes();
        self.queue.insert(waiting.turn, key);
        self.waiting.insert(key, waiting);
    }

    /// The version that an upcall of the interest may carry.
    pub(super) fn version(&self, interest: InterestIndex, version: u64) -> u64 {
        self.covered.get(&interest).map_or(version, |covered| version.min(*covered))
    }

    /// The first version of the directory's own changes that wait.
    fn own(&self, interest: InterestIndex) -> Option<u64> {
        self.own.get(&interest).copied()
    }

    /// A change of the directory itself waits from this version on.
    pub(super) fn wait_own(&mut self, interest: InterestIndex, version: u64) {
        self.own.entry(interest).or_insert(version);
    }

    /// It is about to be told.
    pub(super) fn take_own(&mut self, interest: InterestIndex) {
        self.own.remove(&interest);
    }

    /// Nothing waits for the interest any more.
    pub(super) fn forget(&mut self, interest: InterestIndex) {
        let keys: Vec<Waits> = self.waiting.keys().filter(|(of, _)| *of == interest).copied().collect();
        for key in &keys {
            self.remove(key);
        }
        self.covered.remove(&interest);
        self.own.remove(&interest);
    }
}

impl Registry {
    /// Hands a child to everybody who is interested in what lies below `root` and for whom it is, or was, near enough.
    pub(in crate::hub) fn change_below(
        &mut self,
        root: u32,
        changed: &Changed,
        version: u64,
        mut alive: impl FnMut(ClientIndex) -> bool,
        wake: &mut Vec<ClientIndex>,
    ) {
        let Some(watched) = self.inodes.get(root) else { return };
        let clients = &mut self.clients;
        self.interests.each(&watched.interests, |index, interest| {
            let Some(client) = clients.get_mut(interest.client()) else { return };
            if interest.ended() || client.left {
                return;
            }
            let Some(mut waiting) = as_seen(root, changed, &interest.wish) else { return };
            if interest.wish.is_own(changed.originator, client.process) && alive(interest.client()) {
                client.account.suppressed += 1;
                return;
            }
            client.account.marked += 1;
            if client.queue.is_empty() && client.children.queue.is_empty() {
                wake.push(interest.client());
            }
            if client.children.is_full() {
                client.children.forget(index);
                interest.version = version;
                if interest.pending == 0 {
                    interest.turn = client.enqueue(index);
                }
                client.children.wait_own(index, version);
                interest.pending |= RESCAN;
                return;
            }
            waiting.version = version;
            let key = (index, (changed.key, changed.generation));
            match client.children.remove(&key) {
                Some(earlier) => client.children.insert(key, earlier.and(waiting)),
                None => {
                    client.turns += 1;
                    waiting.turn = client.turns;
                    client.children.insert(key, waiting);
                }
            }
        });
    }

    /// Takes up to `max` children that wait for the client, with turns up to `last`.
    pub(in crate::hub) fn take_children(&mut self, client: ClientIndex, max: usize, last: u64) -> Vec<Child> {
        let Some(owner) = self.clients.get_mut(client) else { return Vec::new() };
        let (mut taken, mut versions) = (Vec::new(), HashMap::<InterestIndex, u64>::new());
        while taken.len() < max {
            let Some((_, key)) = owner.children.queue.first_key_value().filter(|(turn, _)| **turn <= last)
            else {
                break;
            };
            let key = *key;
            let Some(waiting) = owner.children.remove(&key) else { break };
            owner.account.delivered += 1;
            let (index, (inode, generation)) = key;
            let Some(interest) = self.interests.get(index) else { continue };
            let version = versions.entry(index).or_default();
            *version = waiting.version.max(*version);
            taken.push((
                index,
                Child {
                    interest: interest.id(index),
                    cookie: interest.wish.cookie,
                    changes: waiting.changes,
                    version: waiting.version,
                    key: inode,
                    generation,
                    directory: waiting.directory,
                    links: waiting.links,
                    attrs: waiting.attrs,
                    fate: waiting.fate,
                    path: waiting.path,
                    old_path: waiting.old_path,
                    root: self.inodes.get(interest.slot).and_then(|watched| watched.origin.clone()),
                },
            ));
        }
        // They are told together, in no order: with the version of the last one, if no other is left to be told.
        let last = owner.children.waiting.is_empty();
        for (index, version) in &mut versions {
            let below = if last { *version } else { owner.children.version(*index, *version) };
            *version = owner.children.own(*index).map_or(below, |first| below.min(first.saturating_sub(1)));
        }
        let told =
            |(index, child)| Child { version: versions.get(&index).copied().unwrap_or_default(), ..child };
        taken.into_iter().map(told).collect()
    }

    /// What has been taken has been told.
    pub(in crate::hub) fn children_told(&mut self, client: ClientIndex) {
        let Some(owner) = self.clients.get_mut(client) else { return };
        // While others wait, the version stays as low as it was.
        if owner.children.waiting.is_empty() {
            owner.children.covered.clear();
        }
    }

    pub(in crate::hub) fn has_children(&self, client: ClientIndex) -> bool {
        self.clients.get(client).is_some_and(|client| !client.children.queue.is_empty())
    }

    pub(in crate::hub) fn has_scopes(&self, client: ClientIndex) -> bool {
        let Some(owner) = self.clients.get(client) else { return false };
        owner.scopes > 0
    }

    /// The slot of the client's interest.
    pub(in crate::hub) fn slot_of(&mut self, client: ClientIndex, interest: u64) -> Option<u32> {
        let (_, found) = self.interests.find(interest)?;
        (found.client() == client && !found.ended()).then_some(found.slot)
    }

    /// Tells the client, as of this version, to look below the interest's directory itself.
    pub(in crate::hub) fn rescan(&mut self, interest: u64, version: u64) {
        let Some((index, found)) = self.interests.find(interest) else { return };
        let Some(owner) = self.clients.get_mut(found.client()) else { return };
        if found.pending == 0 {
            found.turn = owner.enqueue(index);
        }
        owner.children.wait_own(index, version);
        found.version = version;
        found.pending |= RESCAN;
    }

    /// An interest in what lies below a directory has come.
    pub(super) fn count_scope(&mut self, client: ClientIndex, wish: &Wish) {
        if wish.scope != Scope::Inode
            && let Some(owner) = self.clients.get_mut(client)
        {
            owner.scopes += 1;
        }
    }

    /// One has gone.
    pub(super) fn discount_scope(&mut self, client: ClientIndex, wish: &Wish) {
        if wish.scope == Scope::Inode {
            return;
        }
        if let Some(owner) = self.clients.get_mut(client) {
            owner.scopes = owner.scopes.saturating_sub(1);
        }
    }
}

/// What an interest is told of the child, if it is anything.
fn as_seen(root: u32, changed: &Changed, wish: &Wish) -> Option<Waiting> {
    let near = |below: &&Below| {
        below.root == root
            && match wish.scope {
                Scope::Inode => false,
                Scope::Children => below.is_child(),
                Scope::Subtree => true,
            }
    };
    let path = |places: &[Below]| places.iter().find(near).map(|below| below.path.clone());
    let (before, now) = (path(&changed.before), path(&changed.now));
    let (fate, path, old_path) = match (before, now) {
        (None, None) => return None,
        (None, Some(now)) => (Fate::Appeared, now, None),
        (Some(before), None) => (Fate::Gone, before, None),
        (Some(before), Some(now)) if before == now => (Fate::Stays, now, None),
        (Some(before), Some(now)) => (Fate::Stays, now, Some(before)),
    };
    let changes = match changed.changes & (wish.mask | ALWAYS) {
        0 => changed.unsure & wish.mask,
        changes => changes,
    };
    // What is out of memory may be gone, whatever has been marked: whoever tells it looks.
    if changes == 0 && fate == Fate::Stays && old_path.is_none() && !changed.unseen {
        return None;
    }
    Some(Waiting {
        turn: 0,
        changes,
        version: 0,
        directory: changed.directory,
        links: changed.links,
        attrs: changed.attrs,
        fate,
        path,
        old_path,
    })
}
