//! Who is interested in which inode, and what waits for whom. Pure state: no I/O, no clock, no kernel.
//!
//! What waits for a client is a set of its own interests, each with the union of its changes, never a queue
//! of events; so a client that reads slowly costs at most what it registered.

mod account;
mod inodes;
mod interests;
mod names;
mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slab::Slab;
use upcall_common::{
    abi::{Originator, Probe},
    change::{ALWAYS, DATA, FORGET},
};

pub use account::Account;
pub use inodes::{Origin, Watched};

use super::names::Waiting;
use inodes::Inodes;
use interests::{Interest, InterestIndex, Interests, List};

/// Index of a client; reused after it has gone.
pub type ClientIndex = usize;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Chosen by the client, returned with each upcall.
    pub cookie: u64,
    /// Changes it wants to hear of.
    pub mask: u32,
    /// It also wants to hear of changes that it made itself.
    pub include_own: bool,
}

impl Wish {
    /// Whether a change by `originator` is the client's own, of which it does not want to hear.
    fn is_own(&self, originator: Originator, process: Option<u32>) -> bool {
        !self.include_own && matches!((originator, process), (Originator::Process(by), Some(it)) if by == it)
    }
}

#[derive(Debug, Default)]
struct Client {
    /// In order, so that taking some away at a time does not look at all that are gone.
    interests: BTreeSet<InterestIndex>,
    /// Interests with pending changes, by turn.
    queue: BTreeMap<u64, InterestIndex>,
    /// Turns given out so far.
    turns: u64,
    account: Account,
    /// Bytes of all names that wait for it.
    waiting_bytes: usize,
    /// The process behind the connection, while it is known to live.
    process: Option<u32>,
    /// Of the changes that wait, for who asked.
    provenance: Option<HashMap<InterestIndex, Provenance>>,
    /// The connection is gone: nothing is told any more, and its interests are about to go.
    left: bool,
}

impl Client {
    /// Puts an interest at the end of the queue; returns its turn.
    fn enqueue(&mut self, index: InterestIndex) -> u64 {
        self.turns += 1;
        self.queue.insert(self.turns, index);
        self.turns
    }
}

/// Where changes that wait come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who made them all.
    pub originator: Originator,
    /// Those that came without a change of contents.
    pub apart: u32,
}

impl Provenance {
    fn of(changes: u32, originator: Originator) -> Self {
        Self { originator, apart: if changes & DATA == 0 { changes } else { 0 } }
    }

    fn and(self, other: Self) -> Self {
        Self { originator: self.originator.and(other.originator), apart: self.apart | other.apart }
    }
}

/// A change of a slot, taken off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub slot: u32,
    pub changes: u32,
    pub originator: Originator,
    pub version: u64,
    /// Marks that it stands for.
    pub marks: u64,
}

/// All interests.
#[derive(Debug, Default)]
pub struct Registry {
    inodes: Inodes,
    interests: Interests,
    /// Of the interests that asked for them.
    names: HashMap<InterestIndex, Waiting>,
    clients: Slab<Client>,
    /// Accounts of clients that have gone.
    gone: Account,
}

impl Registry {
    /// `provenance`: it is told of that, too.
    pub fn connect(&mut self, process: Option<u32>, provenance: bool) -> ClientIndex {
        let provenance = provenance.then(HashMap::new);
        self.clients.insert(Client { process, provenance, ..Client::default() })
    }

    /// The client's connection is gone. Its index is free only when [`Registry::clear`] has taken its
    /// interests away.
    pub fn disconnect(&mut self, client: ClientIndex) {
        if let Some(client) = self.clients.get_mut(client) {
            client.left = true;
        }
    }

    /// Takes up to `max` interests from a client that has left. `None`: it had no more, and is forgotten.
    pub fn clear(&mut self, client: ClientIndex, max: usize) -> Option<Vec<Dropped>> {
        let owner = self.clients.get(client)?;
        if owner.interests.is_empty() {
            self.gone = self.gone + owner.account;
            self.clients.remove(client);
            return None;
        }
        let indices: Vec<InterestIndex> = owner.interests.iter().take(max).copied().collect();
        Some(indices.into_iter().filter_map(|index| self.drop_interest(index)).collect())
    }

    /// Changes of an inode are told through this slot.
    pub fn is_attached(&self, slot: u32) -> bool {
        self.inodes.get(slot).is_some_and(|watched| watched.attached)
    }

    pub fn watched(&self, slot: u32) -> Option<&Watched> {
        self.inodes.get(slot)
    }

    pub fn watched_mut(&mut self, slot: u32) -> Option<&mut Watched> {
        self.inodes.get_mut(slot)
    }

    /// Gives an inode a slot whose version is `version`.
    pub fn watch(&mut self, slot: u32, probe: &Probe, origin: Option<Origin>, version: u64) {
        let watched = Watched {
            origin,
            taken: version,
            interests: List::EMPTY,
            attached: true,
            linked: probe.attrs.nlink > 0,
            overlay: probe.overlay != 0,
        };
        self.inodes.insert(slot, watched);
    }

    /// The slot, which has been detached, is nobody's any more.
    pub fn unwatch(&mut self, slot: u32) {
        self.inodes.remove(slot);
    }

    /// The slot is not found by its inode's key any more. Whether it was.
    pub fn detach(&mut self, slot: u32) -> bool {
        self.inodes.get_mut(slot).is_some_and(|watched| std::mem::take(&mut watched.attached))
    }

    /// Adds an interest that is live from `version` on. `None` if there is no such client or slot, or no
    /// index left.
    pub fn register(&mut self, client: ClientIndex, slot: u32, wish: Wish, version: u64) -> Option<u64> {
        let (owner, watched) = (self.clients.get_mut(client)?, self.inodes.get_mut(slot)?);
        let (index, id) = self.interests.insert(&mut watched.interests, client, slot, wish, version)?;
        owner.interests.insert(index);
        Some(id)
    }

    pub fn interests_of(&self, client: ClientIndex) -> usize {
        self.clients.get(client).map_or(0, |client| client.interests.len())
    }

    /// Removes one interest of the client. `Err` if it has no such interest; else the slot, if it is free now.
    pub fn unregister(&mut self, client: ClientIndex, interest: u64) -> Result<Option<u32>, NoInterest> {
        let index = self.find(client, interest)?;
        Ok(self.drop_interest(index).and_then(|dropped| dropped.freed))
    }

    /// Whether the client has this interest.
    pub fn find(&mut self, client: ClientIndex, interest: u64) -> Result<u32, NoInterest> {
        match self.interests.find(interest) {
            Some((index, found)) if found.client() == client && !found.ended() => Ok(index),
            _ => Err(NoInterest),
        }
    }

    fn drop_interest(&mut self, index: InterestIndex) -> Option<Dropped> {
        let slot = self.interests.get(index)?.slot;
        let mut watched = self.inodes.get_mut(slot);
        if let Some(watched) = &mut watched {
            self.interests.unlink(&mut watched.interests, index);
        }
        let freed = watched.is_some_and(|watched| watched.interests.is_empty()).then_some(slot);
        let interest = self.interests.remove(index)?;
        let names = self.names.remove(&index);
        if let Some(owner) = self.clients.get_mut(interest.client()) {
            owner.interests.remove(&index);
            if interest.pending != 0 {
                owner.queue.remove(&interest.turn);
            }
            if let Some(provenance) = &mut owner.provenance {
                provenance.remove(&index);
            }
            // What will never be told was suppressed, so that the account still adds up.
            owner.account.suppressed += interest.pending_marks;
            if let Some(mut names) = names {
                names.take(&mut owner.waiting_bytes);
            }
        }
        Some(Dropped { id: interest.id(index), freed })
    }

    /// How many marks a take covers that read `version`; 0 if no version rose since the last take, in which
    /// case the caller raises it: two takes must never be told with the same version.
    pub fn marks_taken(&mut self, slot: u32, version: u64) -> u64 {
        let Some(watched) = self.inodes.get_mut(slot) else { return 0 };
        let marks = version.saturating_sub(watched.taken);
        watched.taken = watched.taken.max(version);
        marks
    }

    /// Hands a change to everybody interested; clients that had nothing to send before are added to `wake`.
    /// `alive` says whether a client's process still lives: asked only where it is about not telling it.
    pub fn change(
        &mut self,
        taken: Taken,
        mut alive: impl FnMut(ClientIndex) -> bool,
        wake: &mut Vec<ClientIndex>,
    ) {
        let Taken { slot, changes, originator, version, marks } = taken;
        let Some(watched) = self.inodes.get(slot) else { return };
        let clients = &mut self.clients;
        self.interests.each(&watched.interests, |index, interest| {
            let Some(client) = clients.get_mut(interest.client()) else { return };
            if interest.ended() || client.left {
                return;
            }
            client.account.marked += marks;
            let told = changes & (interest.wish.mask | ALWAYS);
            let suppress = told == 0
                || told & FORGET == 0
                    && interest.wish.is_own(originator, client.process)
                    && alive(interest.client());
            if suppress {
                client.account.suppressed += marks;
                return;
            }
            interest.version = version;
            interest.pending_marks += marks;
            if interest.pending == 0 {
                if client.queue.is_empty() {
                    wake.push(interest.client());
                }
                interest.turn = client.enqueue(index);
            }
            interest.pending |= told;
            if let Some(provenance) = &mut client.provenance {
                let new = Provenance::of(told, originator);
                provenance.entry(index).and_modify(|it| *it = it.and(new)).or_insert(new);
            }
        });
    }

    /// Slots that the client is interested in, each once.
    pub fn slots_of(&self, client: ClientIndex) -> Vec<u32> {
        let Some(owner) = self.clients.get(client) else { return Vec::new() };
        let interests = owner.interests.iter().filter_map(|index| self.interests.get(*index));
        let mut slots: Vec<u32> = interests.map(|it| it.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// How many interests a slot has, and how many of them would be told of such a change by `tgid`.
    pub fn audience(&self, slot: u32, changes: u32, tgid: u32) -> (usize, usize) {
        let Some(watched) = self.inodes.get(slot) else { return (0, 0) };
        let told = |it: &&Interest| {
            let own = self.clients.get(it.client()).is_some_and(|client| client.process == Some(tgid));
            changes & (it.wish.mask | ALWAYS) != 0 && (it.wish.include_own || !own)
        };
        let interests = || self.interests.of(&watched.interests);
        (interests().count(), interests().filter(told).count())
    }

    pub fn account_of(&self, client: ClientIndex) -> Account {
        self.clients.get(client).map_or_else(Account::default, |client| client.account)
    }

    /// Of all clients, those that have gone included.
    pub fn account(&self) -> Account {
        self.clients.iter().map(|(_, client)| client.account).fold(self.gone, std::ops::Add::add)
    }

    pub fn interests(&self) -> usize {
        self.interests.len()
    }

    pub fn slots(&self) -> usize {
        self.inodes.len()
    }
}

/// An interest that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub id: u64,
    /// Its slot, if nobody else is interested in it.
    pub freed: Option<u32>,
}

/// The client has no interest of that id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInterest;
