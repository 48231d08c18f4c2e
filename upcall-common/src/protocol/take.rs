//! The daemon's side. One thread at a time takes from a slot; BPF programs go on marking it meanwhile.

use super::{LOCKED, Shared, Slot};
use crate::abi::Word;

/// The dirty ring, as the daemon reads it.
pub trait Reader {
    /// Reads records; `false`: there may be more.
    fn drain(&mut self) -> bool;
    /// From now on a new record wakes the daemon.
    fn arm(&mut self);
    /// Takes from the slots that were read.
    fn take(&mut self);
    /// Whether the ring had been full: see [`take_scan`].
    fn take_scan(&mut self) -> bool;
    /// Takes from all slots.
    fn scan(&mut self);
}

/// What the daemon does each time it is woken. The flag comes after the ring: who could not submit found a ring that
/// was still to be emptied, after setting the flag.
pub fn turn(reader: &mut impl Reader) {
    if reader.drain() {
        // Before the flag is looked at: a record that comes now wakes the daemon again.
        reader.arm();
    }
    reader.take();
    if reader.take_scan() {
        reader.scan();
    }
}

/// Takes the flag that sends the daemon to look at all slots: before it looks, so that no later one is missed.
pub fn take_scan(flag: &impl Shared) -> bool {
    flag.load() != 0 && flag.swap(0) != 0
}

/// Takes what is pending.
pub fn take(slot: &impl Slot) -> Word {
    // Most looks during a scan find nothing; they should not dirty the cache line.
    if slot.pending().load() == 0 {
        return Word::default();
    }
    Word(slot.pending().swap(0))
}

/// The version that covers what has just been taken, and how many marks it counts. `since` is how many versions there
/// were since the last take, which now ends with the one that it gets: two takes must never be told with the same one.
pub fn version(slot: &impl Slot, mut since: impl FnMut(u64) -> u64) -> (u64, u64) {
    let version = slot.version().load();
    match since(version) {
        0 => {
            let raised = slot.version().add(1) + 1;
            // Raising is no mark; but there may have been one just before it.
            (raised, since(raised).saturating_sub(1))
        }
        marks => (version, marks),
    }
}

/// The attributes that `load` gets word by word, if they are those of `version` and nobody was storing others meanwhile.
/// Who sees their version and then no lock sees all of them; who then, after loading, sees no lock and still their version
/// has seen nothing of others. With the looks after loading the other way round, a store that had begun before could end
/// between them.
pub fn attrs<A>(slot: &impl Slot, version: u64, load: impl FnOnce() -> A) -> Option<A> {
    let current = || slot.attrs_version().load() == version;
    let unlocked = || slot.lock().load() & LOCKED == 0;
    if !(current() && unlocked()) {
        return None;
    }
    let attrs = load();
    (unlocked() && current()).then_some(attrs)
}

/// Takes what the safety net saw and no hook has told of since.
pub fn take_net(slot: &impl Slot) -> u64 {
    match slot.net().load() {
        0 => 0,
        _ => slot.net().swap(0),
    }
}
