//! What a client keeps, and what it makes of what it is told: the rules of PROTOCOL.md, "How to use it correctly".

use std::{collections::BTreeMap, fs::File};

use serde::{Deserialize, Serialize};
use upcall_client::{
    Attrs, Notice,
    change::{ACL, ATIME, FLAGS, MODE, NLINK, OWNER, RENAME, TIMES, XATTR},
};

use super::{disk::Identity, tree::Subject, view::View};

/// Changes of which upcalls tell all when they bring attributes.
const TOLD_WHOLE: u32 = TIMES | ATIME | MODE | OWNER | NLINK | RENAME;
/// Changes that leave contents and entries as they are.
const BESIDE_CONTENTS: u32 = TOLD_WHOLE | XATTR | ACL | FLAGS;

#[derive(Debug, Default)]
pub(crate) struct Cache {
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// Whether attributes that upcalls bring are used, rather than read anew.
    pub(crate) uses_attrs: bool,
    /// Since when it cannot be trusted: there is no connection.
    pub(crate) in_doubt: bool,
    /// Interests that are of no use any more.
    pub(crate) useless: Vec<u64>,
    pub(crate) counts: Counts,
}

/// An interest, and what is kept of its inode.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) subject: Subject,
    pub(crate) interest: u64,
    pub(crate) identity: Identity,
    /// A name, which may be another inode's when it is registered again.
    pub(crate) by_path: bool,
    /// Open for as long as it is watched; or it is opened by name whenever it is read.
    pub(crate) held: Option<File>,
    /// The highest one heard of.
    pub(crate) version: u64,
    pub(crate) kept: Option<View>,
    /// Of what is kept, contents and entries alone are good.
    pub(crate) in_part: bool,
    /// What was heard last, for who must find out what went wrong.
    pub(crate) last: String,
}

macro_rules! counts {
    ($($name:ident),+ $(,)?) => {
        /// What has happened to clients.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) struct Counts { $(pub(crate) $name: u64),+ }

        impl Counts {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }
    };
}

counts! {
    registered, refused, no_slots, read, upcalls, dropped, attrs_used, contents_kept, ended, disconnected, changed, unchanged, lost,
    resync, syncs, syncs_failed, verified_writing, verified_sync, verified_told,
}

impl Cache {
    pub(crate) fn hear(&mut self, notice: &Notice) {
        let counts = &mut self.counts;
        match notice {
            Notice::Upcall { cookie, mask, version, attrs, ended, .. } => {
                counts.upcalls += 1;
                if *ended {
                    counts.ended += u64::from(self.entries.remove(cookie).is_some());
                } else if let Some(entry) = self.entries.get_mut(cookie) {
                    entry.last = format!("{notice:?}");
                    if *version > entry.version {
                        entry.version = *version;
                        entry.told(*mask, *attrs, self.uses_attrs, counts);
                    }
                }
            }
            Notice::Changed { cookie, version, .. } => {
                counts.changed += 1;
                if self.entries.get(cookie).is_some_and(|entry| entry.by_path) {
                    self.useless.extend(self.entries.remove(cookie).map(|entry| entry.interest));
                } else if let Some(entry) = self.entries.get_mut(cookie) {
                    entry.last = format!("{notice:?}");
                    entry.version = *version;
                    entry.kept = None;
                }
            }
            Notice::Lost { cookie, .. } => {
                counts.lost += 1;
                self.entries.remove(cookie);
            }
            Notice::Resync { .. } => {
                counts.resync += 1;
                if self.in_doubt {
                    // All have been registered again.
                    let by_path = self.entries.extract_if(.., |_, entry| entry.by_path);
                    self.useless.extend(by_path.map(|(_, entry)| entry.interest));
                }
                for entry in self.entries.values_mut() {
                    entry.last = format!("{notice:?}");
                    entry.kept = None;
                    // It may be of another epoch, in which versions start anew.
                    entry.version = 0;
                }
            }
            Notice::Disconnected { .. } => {
                counts.disconnected += 1;
                self.in_doubt = true;
            }
            Notice::Reconnected => {
                counts.unchanged += self.entries.values().filter(|entry| entry.kept.is_some()).count() as u64;
                self.in_doubt = false;
            }
            _ => {}
        }
    }
}

impl Entry {
    fn told(&mut self, mask: u32, attrs: Option<Attrs>, uses_attrs: bool, counts: &mut Counts) {
        match (&mut self.kept, attrs) {
            (Some(kept), Some(attrs)) if uses_attrs && mask & !TOLD_WHOLE == 0 => {
                counts.attrs_used += 1;
                kept.attrs = attrs;
            }
            (Some(_), _) if uses_attrs && mask & !BESIDE_CONTENTS == 0 => {
                counts.contents_kept += 1;
                self.in_part = true;
            }
            (kept, _) => {
                counts.dropped += u64::from(kept.take().is_some());
                self.in_part = false;
            }
        }
    }

    /// What is kept, if all of it is good.
    pub(crate) fn whole(&self) -> Option<&View> {
        self.kept.as_ref().filter(|_| !self.in_part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use upcall_client::{Code, ItemError, ResyncReason, change::DATA};

    fn view() -> View {
        let file = tempfile::tempfile().expect("a file");
        View::of(&file).expect("its view")
    }

    fn cache(uses_attrs: bool) -> Cache {
        let mut cache = Cache { uses_attrs, ..Cache::default() };
        for cookie in [1, 2] {
            let (subject, identity) = (Subject::default(), Identity::default());
            let (held, kept, last) = (None, Some(view()), String::new());
            let (interest, by_path) = (cookie, cookie == 1);
            let entry =
                Entry { subject, interest, identity, by_path, held, version: 5, kept, in_part: false, last };
            cache.entries.insert(cookie, entry);
        }
        cache
    }

    fn upcall(mask: u32, version: u64, attrs: Option<Attrs>, ended: bool) -> Notice {
        Notice::Upcall { cookie: 1, interest: 1, mask, version, attrs, ended, names: Default::default() }
    }

    fn keeps(cache: &Cache) -> [bool; 2] {
        [1, 2].map(|cookie| cache.entries.get(&cookie).is_some_and(|entry| entry.kept.is_some()))
    }

    #[test]
    fn an_upcall_above_the_version_drops_what_is_kept() {
        let mut cache = cache(false);
        cache.hear(&upcall(DATA, 5, None, false));
        assert_eq!(keeps(&cache), [true, true]);
        cache.hear(&upcall(MODE, 6, Some(Attrs::default()), false));
        assert_eq!(keeps(&cache), [false, true]);
    }

    #[test]
    fn attributes_take_the_place_of_those_kept_where_nothing_else_changed() {
        let mut cache = cache(true);
        let attrs = Attrs { mode: 0o100_600, ..Attrs::default() };
        cache.hear(&upcall(MODE | TIMES, 6, Some(attrs), false));
        assert_eq!(cache.entries[&1].kept.as_ref().map(|kept| kept.attrs), Some(attrs));
        cache.hear(&upcall(DATA | TIMES, 7, Some(attrs), false));
        assert_eq!(keeps(&cache), [false, true]);
        assert_eq!(cache.counts.attrs_used, 1);
    }

    #[test]
    fn contents_stay_good_when_something_else_changed() {
        let mut cache = cache(true);
        cache.hear(&upcall(XATTR | TIMES, 6, None, false));
        assert_eq!((keeps(&cache), cache.entries[&1].whole()), ([true, true], None));
        cache.hear(&upcall(DATA, 7, None, false));
        assert_eq!(keeps(&cache), [false, true]);
    }

    #[test]
    fn what_ends_or_is_lost_is_kept_no_more() {
        let mut cache = cache(false);
        cache.hear(&upcall(DATA, 5, None, true));
        let error = ItemError { code: Code::NotFound };
        cache.hear(&Notice::Lost { cookie: 2, interest: 2, error });
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn a_reconnection_keeps_what_has_not_changed() {
        let mut cache = cache(false);
        cache.hear(&Notice::Disconnected { reason: String::new() });
        assert!(cache.in_doubt);
        cache.hear(&Notice::Reconnected);
        assert!(!cache.in_doubt);
        assert_eq!((keeps(&cache), cache.counts.unchanged), ([true, true], 2));
        cache.hear(&Notice::Changed { cookie: 2, interest: 2, version: 9, attrs: None });
        assert_eq!((keeps(&cache), cache.entries[&2].version), ([true, false], 9));
    }

    #[test]
    fn a_name_that_is_registered_again_may_be_another_inodes() {
        let mut changed = cache(false);
        changed.hear(&Notice::Changed { cookie: 1, interest: 1, version: 9, attrs: None });
        assert_eq!((changed.entries.len(), changed.useless), (1, vec![1]));
        let resync = Notice::Resync { reason: ResyncReason::Epoch, text: String::new() };
        for in_doubt in [false, true] {
            let mut cache = cache(false);
            cache.in_doubt = in_doubt;
            cache.hear(&resync);
            assert_eq!((keeps(&cache), cache.useless.is_empty()), ([false, false], !in_doubt));
        }
    }
}
