//! The live watches. Pure logic.

use std::collections::{BTreeMap, HashMap};

use upcall_common::change::ENTRIES;
use upcall_common::wire::{self, Code, Known, UpcallItem};

use crate::error::ItemError;
use crate::{Names, Notice, Watch};

/// The live watches by interest. The daemon numbers interests anew for each connection; the interest ids that
/// programs see are ours and stay.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    latest: u64,
    live: BTreeMap<u64, Live>,
    by_number: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Live {
    watch: Watch,
    /// The daemon's number on this connection.
    number: Option<u64>,
    /// The latest that the program has been told of, in this epoch; 0: none.
    version: u64,
}

impl Watches {
    /// Takes in a registration that has succeeded. Returns its interest.
    pub(crate) fn insert(&mut self, watch: Watch, answer: &wire::Registered) -> u64 {
        self.latest += 1;
        self.by_number.insert(answer.interest, self.latest);
        let live = Live { watch, number: Some(answer.interest), version: answer.version };
        self.live.insert(self.latest, live);
        self.latest
    }

    /// Forgets an interest. `None`: there was none; `Some(None)`: the daemon has none on this connection.
    pub(crate) fn remove(&mut self, interest: u64) -> Option<Option<u64>> {
        let live = self.live.remove(&interest)?;
        if let Some(number) = live.number {
            self.by_number.remove(&number);
        }
        Some(live.number)
    }

    /// The daemon's number of an interest.
    pub(crate) fn number(&self, interest: u64) -> Option<u64> {
        self.live.get(&interest)?.number
    }

    pub(crate) fn interests(&self) -> impl Iterator<Item = u64> {
        self.live.keys().copied()
    }

    /// What to register again, and the version known of it.
    pub(crate) fn known(&self, interest: u64) -> Option<(&Watch, u64)> {
        self.live.get(&interest).map(|live| (&live.watch, live.version))
    }

    pub(crate) fn set_lifetime_ms(&mut self, interest: u64, lifetime_ms: u32) {
        if let Some(live) = self.live.get_mut(&interest) {
            live.watch.set_lifetime_ms(lifetime_ms);
        }
    }

    /// Takes in an upcall of a daemon that `names` entries or knows of no names. `None`: for an interest that has
    /// been given up.
    pub(crate) fn upcall(&mut self, item: UpcallItem, names: bool) -> Option<Notice> {
        let interest = *self.by_number.get(&item.interest)?;
        let live = self.live.get_mut(&interest)?;
        live.version = live.version.max(item.version);
        let cookie = live.watch.cookie();
        let unnamed = !names && live.watch.asks_for_names() && item.mask & ENTRIES != 0;
        if item.ended {
            self.remove(interest);
        }
        let names = Names { entries: item.names, incomplete: item.names_incomplete || unnamed };
        let UpcallItem { mask, version, attrs, ended, .. } = item;
        Some(Notice::Upcall { cookie, interest, mask, version, attrs, ended, names })
    }

    /// The connection is gone, and with it the daemon's numbers.
    pub(crate) fn disconnect(&mut self) {
        self.by_number.clear();
        self.live.values_mut().for_each(|live| live.number = None);
    }

    /// Versions seen so far mean nothing any more.
    pub(crate) fn forget_versions(&mut self) {
        self.live.values_mut().for_each(|live| live.version = 0);
    }

    /// Takes in the answer to a repeated registration. Its version replaces the one that was held, even a higher one:
    /// that was another inode's then. Returns what the program must hear of it.
    pub(crate) fn restore(&mut self, interest: u64, answer: &wire::Registered) -> Option<Notice> {
        if !answer.code.is_ok() {
            return self.lost(interest, answer.code);
        }
        let live = self.live.get_mut(&interest)?;
        live.number = Some(answer.interest);
        live.version = answer.version;
        self.by_number.insert(answer.interest, interest);
        match answer.known {
            Known::Unchanged => None,
            Known::Changed | Known::None => Some(Notice::Changed {
                cookie: live.watch.cookie(),
                interest,
                version: answer.version,
                attrs: answer.attrs,
            }),
        }
    }

    /// An interest that cannot be registered again.
    pub(crate) fn lost(&mut self, interest: u64, code: Code) -> Option<Notice> {
        let cookie = self.live.get(&interest)?.watch.cookie();
        self.remove(interest);
        Some(Notice::Lost { cookie, interest, error: ItemError { code } })
    }
}
