//! Who is interested in which inode, and what waits for whom. Pure state: no I/O, no clock, no kernel.
//!
//! What waits for a client is a set of its own interests, each with the union of its changes, never a queue
//! of events; so a client that reads slowly costs at most what it registered.

mod names;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slab::Slab;
use upcall_common::{
    abi::{Key, Originator, Probe},
    change::{ALWAYS, ENTRIES, EXPIRED, FORGET},
};

use super::names::{Names, Waiting};
use crate::sys::handle::FileHandle;

/// Index of a client; reused after it has gone.
pub type ClientIndex = usize;
type InterestIndex = u32;

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

/// Of a client or of all: where every mark went. `marked` is the sum of the others plus what is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Account {
    /// Marks of inodes it was interested in.
    pub marked: u64,
    /// Upcalls sent.
    pub delivered: u64,
    /// Marks that shared an upcall with another.
    pub coalesced: u64,
    /// Marks it was not told of: its own, or changes that it did not ask for.
    pub suppressed: u64,
    /// Upcalls sent beyond these, for marks already counted with another upcall.
    pub repeated: u64,
}

impl std::ops::Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            marked: self.marked + other.marked,
            delivered: self.delivered + other.delivered,
            coalesced: self.coalesced + other.coalesced,
            suppressed: self.suppressed + other.suppressed,
            repeated: self.repeated + other.repeated,
        }
    }
}

#[derive(Debug)]
struct Interest {
    client: ClientIndex,
    slot: u32,
    /// Where it stands in the list of its inode.
    place: usize,
    /// Tells this interest from an earlier one at the same index.
    serial: u32,
    wish: Wish,
    /// Changes that wait to be sent; the interest is in the client's queue exactly if there are any.
    pending: u32,
    /// Its turn in the queue.
    turn: u64,
    /// Marks that wait with them.
    pending_marks: u64,
    /// Version as of the last change that waits or was sent.
    version: u64,
    /// No more changes will come; removed once this has been told.
    ended: bool,
    /// Where it asked for names.
    names: Option<Box<Waiting>>,
}

/// How an inode can be opened again: tells a deleted one from one that only left the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the export that it lies in.
    pub export: usize,
    pub handle: FileHandle,
}

/// An inode that somebody is interested in.
#[derive(Debug)]
pub struct Watched {
    pub key: Key,
    pub generation: u32,
    /// Found by its key.
    attached: bool,
    /// Version at the last take: tells how many marks a take covers.
    taken: u64,
    /// The inode had a link when it was last looked at.
    pub linked: bool,
    pub origin: Option<Origin>,
    /// An inode of an overlay.
    pub overlay: bool,
    /// The inode below an overlay's whose changes mark this slot too.
    pub below: Option<Key>,
    interests: Vec<InterestIndex>,
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

/// An upcall to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub interest: u64,
    pub slot: u32,
    pub cookie: u64,
    pub changes: u32,
    pub version: u64,
    pub ended: bool,
    pub names: Names,
}

/// All interests.
#[derive(Debug, Default)]
pub struct Registry {
    watched: HashMap<u32, Watched>,
    interests: Slab<Interest>,
    clients: Slab<Client>,
    serial: u32,
    /// Accounts of clients that have gone.
    gone: Account,
}

impl Registry {
    pub fn connect(&mut self, process: Option<u32>) -> ClientIndex {
        self.clients.insert(Client { process, ..Client::default() })
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
        self.watched.get(&slot).is_some_and(|watched| watched.attached)
    }

    pub fn watched(&self, slot: u32) -> Option<&Watched> {
        self.watched.get(&slot)
    }

    pub fn watched_mut(&mut self, slot: u32) -> Option<&mut Watched> {
        self.watched.get_mut(&slot)
    }

    /// Gives an inode a slot whose version is `version`.
    pub fn watch(&mut self, slot: u32, probe: &Probe, origin: Option<Origin>, version: u64) {
        let Probe { key, generation, .. } = *probe;
        let linked = probe.attrs.nlink > 0;
        self.watched.insert(
            slot,
            Watched {
                key,
                generation,
                attached: true,
                taken: version,
                linked,
                origin,
                overlay: probe.overlay != 0,
                below: None,
                interests: Vec::new(),
            },
        );
    }

    /// The slot, which has been detached, is nobody's any more.
    pub fn unwatch(&mut self, slot: u32) {
        self.watched.remove(&slot);
    }

    /// The slot is not found by its inode's key any more.
    pub fn detach(&mut self, slot: u32) {
        if let Some(watched) = self.watched.get_mut(&slot) {
            watched.attached = false;
        }
    }

    /// Adds an interest that is live from `version` on. `None` if there is no such client or slot, or no
    /// index left.
    pub fn register(&mut self, client: ClientIndex, slot: u32, wish: Wish, version: u64) -> Option<u64> {
        let (owner, watched) = (self.clients.get_mut(client)?, self.watched.get_mut(&slot)?);
        let index = InterestIndex::try_from(self.interests.vacant_key()).ok()?;
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let place = watched.interests.len();
        self.interests.insert(Interest {
            client,
            slot,
            place,
            serial,
            wish,
            pending: 0,
            turn: 0,
            pending_marks: 0,
            version,
            ended: false,
            names: None,
        });
        owner.interests.insert(index);
        watched.interests.push(index);
        Some(id(serial, index))
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
    pub fn find(&self, client: ClientIndex, interest: u64) -> Result<u32, NoInterest> {
        let index = interest as InterestIndex;
        match self.interests.get(index as usize) {
            Some(found) if found.client == client && id(found.serial, index) == interest && !found.ended => {
                Ok(index)
            }
            _ => Err(NoInterest),
        }
    }

    fn drop_interest(&mut self, index: InterestIndex) -> Option<Dropped> {
        let interest = self.interests.try_remove(index as usize)?;
        if let Some(owner) = self.clients.get_mut(interest.client) {
            owner.interests.remove(&index);
            if interest.pending != 0 {
                owner.queue.remove(&interest.turn);
            }
            // What will never be told was suppressed, so that the account still adds up.
            owner.account.suppressed += interest.pending_marks;
            if let Some(mut names) = interest.names {
                names.take(&mut owner.waiting_bytes);
            }
        }
        let id = id(interest.serial, index);
        let Some(watched) = self.watched.get_mut(&interest.slot) else {
            return Some(Dropped { id, freed: None });
        };
        watched.interests.swap_remove(interest.place);
        let freed = watched.interests.is_empty().then_some(interest.slot);
        if let Some(moved) = watched.interests.get(interest.place)
            && let Some(moved) = self.interests.get_mut(*moved as usize)
        {
            moved.place = interest.place;
        }
        Some(Dropped { id, freed })
    }

    /// How many marks a take covers that read `version`; 0 if no version rose since the last take, in which
    /// case the caller raises it: two takes must never be told with the same version.
    pub fn marks_taken(&mut self, slot: u32, version: u64) -> u64 {
        let Some(watched) = self.watched.get_mut(&slot) else { return 0 };
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
        let Some(watched) = self.watched.get(&slot) else { return };
        for &index in &watched.interests {
            let Some(interest) = self.interests.get_mut(index as usize) else { continue };
            let Some(client) = self.clients.get_mut(interest.client) else { continue };
            if interest.ended || client.left {
                continue;
            }
            client.account.marked += marks;
            let told = changes & (interest.wish.mask | ALWAYS);
            let suppress = told == 0
                || told & FORGET == 0
                    && interest.wish.is_own(originator, client.process)
                    && alive(interest.client);
            if suppress {
                client.account.suppressed += marks;
                continue;
            }
            interest.version = version;
            interest.pending_marks += marks;
            interest.ended = told & (FORGET | EXPIRED) != 0;
            if interest.pending == 0 {
                if client.queue.is_empty() {
                    wake.push(interest.client);
                }
                interest.turn = client.enqueue(index);
            }
            interest.pending |= told;
        }
    }

    /// Ends one interest because its lifetime is over. Whether its client has to be woken.
    pub fn expire(&mut self, interest: u64) -> Option<ClientIndex> {
        let index = interest as InterestIndex;
        let found =
            self.interests.get_mut(index as usize).filter(|found| id(found.serial, index) == interest)?;
        if found.ended {
            return None;
        }
        found.ended = true;
        let client = self.clients.get_mut(found.client)?;
        let wake = client.queue.is_empty();
        if found.pending == 0 {
            found.turn = client.enqueue(index);
        }
        found.pending |= EXPIRED;
        wake.then_some(found.client)
    }

    /// The last turn given out in the client's queue: what waits now has none above it.
    pub fn last_turn(&self, client: ClientIndex) -> u64 {
        self.clients.get(client).map_or(0, |client| client.turns)
    }

    /// Takes up to `max` upcalls that wait for the client, with turns up to `last`. Interests that have ended
    /// go with it and are added to `dropped`.
    pub fn take(
        &mut self,
        client: ClientIndex,
        max: usize,
        last: u64,
        dropped: &mut Vec<Dropped>,
    ) -> Vec<Pending> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some(owner) = self.clients.get_mut(client) else { break };
            let Some(next) = owner.queue.first_entry().filter(|next| *next.key() <= last) else { break };
            let index = next.remove();
            let Some(interest) = self.interests.get_mut(index as usize) else { continue };
            let names = match &mut interest.names {
                Some(names) if interest.pending & ENTRIES != 0 => names.take(&mut owner.waiting_bytes),
                _ => Names::default(),
            };
            taken.push(Pending {
                interest: id(interest.serial, index),
                slot: interest.slot,
                cookie: interest.wish.cookie,
                changes: std::mem::take(&mut interest.pending),
                version: interest.version,
                ended: interest.ended,
                names,
            });
            let marks = std::mem::take(&mut interest.pending_marks);
            let ended = interest.ended;
            let Some(owner) = self.clients.get_mut(client) else { continue };
            // A take that found no new version carries no mark of its own: it was counted before.
            if marks > 0 {
                owner.account.delivered += 1;
                owner.account.coalesced += marks - 1;
            } else {
                owner.account.repeated += 1;
            }
            if ended {
                dropped.extend(self.drop_interest(index));
            }
        }
        taken
    }

    /// Slots that the client is interested in, each once.
    pub fn slots_of(&self, client: ClientIndex) -> Vec<u32> {
        let Some(owner) = self.clients.get(client) else { return Vec::new() };
        let interests = owner.interests.iter().filter_map(|index| self.interests.get(*index as usize));
        let mut slots: Vec<u32> = interests.map(|it| it.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// How many interests a slot has, and how many of them would be told of such a change by `tgid`.
    pub fn audience(&self, slot: u32, changes: u32, tgid: u32) -> (usize, usize) {
        let Some(watched) = self.watched.get(&slot) else { return (0, 0) };
        let told =
            watched.interests.iter().filter_map(|index| self.interests.get(*index as usize)).filter(|it| {
                let own = self.clients.get(it.client).is_some_and(|client| client.process == Some(tgid));
                changes & (it.wish.mask | ALWAYS) != 0 && (it.wish.include_own || !own)
            });
        (watched.interests.len(), told.count())
    }

    pub fn pending_of(&self, client: ClientIndex) -> usize {
        self.clients.get(client).map_or(0, |client| client.queue.len())
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
        self.watched.len()
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

fn id(serial: u32, index: InterestIndex) -> u64 {
    u64::from(serial) << 32 | u64::from(index)
}
