//! One slot in memory that the daemon shares with the BPF programs.

use std::{
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use upcall_common::{
    abi::{Attrs, Key, Slot, Word},
    protocol,
};

/// A slot as words: what the BPF programs know as [`Slot`].
pub type Words = [AtomicU64; size_of::<Slot>() / 8];

pub(in crate::hub) const PENDING: usize = offset_of!(Slot, pending) / 8;
pub(in crate::hub) const VERSION: usize = offset_of!(Slot, version) / 8;
pub(in crate::hub) const INODE: usize = offset_of!(Slot, inode) / 8;
const KEY: usize = offset_of!(Slot, key) / 8;
/// See [`protocol::Slot::lock`].
const GENERATION_AND_LOCK: usize = offset_of!(Slot, generation) / 8;
const ATTRS_VERSION: usize = offset_of!(Slot, attrs_version) / 8;
const ATTRS: usize = offset_of!(Slot, attrs) / 8;
pub(in crate::hub) const NET: usize = offset_of!(Slot, net) / 8;
const UNSETTLED: usize = offset_of!(Slot, unsettled) / 8;

/// One slot.
#[derive(Clone, Copy)]
pub struct View<'a>(&'a Words);

impl<'a> View<'a> {
    pub(in crate::hub) fn new(words: &'a Words) -> Self {
        Self(words)
    }

    /// The slot is this inode's from now on. `version`: the least that it may have.
    pub(super) fn begin(&self, key: Key, generation: u32, version: u64) {
        for (word, value) in self.0[KEY..].iter().zip(key.words()) {
            word.store(value, SeqCst);
        }
        self.0[GENERATION_AND_LOCK].store(u64::from(generation), SeqCst);
        self.0[ATTRS_VERSION].store(0, SeqCst);
        self.0[NET].store(0, SeqCst);
        self.0[UNSETTLED].store(0, SeqCst);
        self.0[VERSION].fetch_max(version, SeqCst);
        self.0[PENDING].store(0, SeqCst);
    }

    /// Takes what is pending.
    pub fn take(&self) -> Word {
        protocol::take(self)
    }

    /// As [`protocol::version`].
    pub fn version_taken(&self, since: impl FnMut(u64) -> u64) -> (u64, u64) {
        protocol::version(self, since)
    }

    pub fn is_dirty(&self) -> bool {
        self.0[PENDING].load(SeqCst) != 0
    }

    pub fn version(&self) -> u64 {
        self.0[VERSION].load(SeqCst)
    }

    /// Raises the version for a change that the kernel side did not count; returns the new one.
    pub fn raise(&self) -> u64 {
        self.0[VERSION].fetch_add(1, SeqCst) + 1
    }

    /// Where the inode was last seen.
    pub fn inode(&self) -> u64 {
        self.0[INODE].load(SeqCst)
    }

    pub fn set_inode(&self, address: u64) {
        self.0[INODE].store(address, SeqCst);
    }

    /// What the safety net saw and no hook has told of since: see [`Slot::net`].
    pub fn take_net(&self) -> u64 {
        protocol::take_net(self)
    }

    pub fn has_net(&self) -> bool {
        self.0[NET].load(SeqCst) != 0
    }

    /// Whether something may be still to be told: see [`Slot::unsettled`].
    pub fn is_unsettled(&self) -> bool {
        self.0[UNSETTLED].load(SeqCst) != 0
    }

    pub fn set_unsettled(&self, unsettled: bool) {
        self.0[UNSETTLED].store(u64::from(unsettled), SeqCst);
    }

    pub fn key(&self) -> Key {
        Key::from_words([self.0[KEY].load(SeqCst), self.0[KEY + 1].load(SeqCst)])
    }

    pub fn generation(&self) -> u32 {
        self.0[GENERATION_AND_LOCK].load(SeqCst) as u32
    }

    /// The attributes, if they are those of `version` and nobody was storing others meanwhile.
    pub fn attrs(&self, version: u64) -> Option<Attrs> {
        protocol::attrs(self, version, || self.last_attrs())
    }

    /// The attributes stored last, whatever version they are of.
    pub fn last_attrs(&self) -> Attrs {
        Attrs::from_words(std::array::from_fn(|i| self.0[ATTRS + i].load(SeqCst)))
    }

    /// Stores what the daemon has read itself, as the attributes of `version`.
    pub fn set_attrs(&self, version: u64, attrs: &Attrs) {
        protocol::store_attrs(self, version, || {
            for (word, value) in self.0[ATTRS..].iter().zip(attrs.words()) {
                word.store(value, SeqCst);
            }
        });
    }

    /// Nobody can store attributes now.
    pub fn is_locked(&self) -> bool {
        self.0[GENERATION_AND_LOCK].load(SeqCst) >> 32 != 0
    }

    /// Whoever held the lock is gone.
    pub fn unlock(&self) {
        self.0[GENERATION_AND_LOCK].fetch_and(u64::from(u32::MAX), SeqCst);
    }
}

impl protocol::Slot for View<'_> {
    type Word = AtomicU64;

    fn pending(&self) -> &AtomicU64 {
        &self.0[PENDING]
    }

    fn version(&self) -> &AtomicU64 {
        &self.0[VERSION]
    }

    fn lock(&self) -> &AtomicU64 {
        &self.0[GENERATION_AND_LOCK]
    }

    fn attrs_version(&self) -> &AtomicU64 {
        &self.0[ATTRS_VERSION]
    }

    fn net(&self) -> &AtomicU64 {
        &self.0[NET]
    }
}
