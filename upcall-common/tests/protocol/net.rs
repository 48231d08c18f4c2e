//! The safety net beside a hook: what no hook tells of is not forgotten.

use loom::thread;
use upcall_common::{
    abi::Word,
    change::{DATA, NET},
    protocol,
};

use crate::{
    explore,
    memory::{DaemonSlot, KernelSlot, Memory},
    slot::Nowhere,
    variant::*,
};

const UNHOOKED: u64 = 5 << 32 | 5;
const HOOKED: u64 = 6 << 32 | 6;

/// One thread makes a change that no hook sees; another one that a hook tells of.
fn found<V: Variant>() {
    let memory = Memory::new();
    let (unhooked, hooked): (KernelSlot, KernelSlot) = (memory.side(), memory.side());
    let threads = [
        thread::spawn(move || {
            protocol::net(&unhooked, &Nowhere, 0, UNHOOKED);
        }),
        thread::spawn(move || {
            protocol::net(&hooked, &Nowhere, 0, HOOKED);
            V::hooked(&hooked, HOOKED);
            V::mark(&hooked, &Nowhere, 0, Word::of_process(DATA, 6), |_| ());
        }),
    ];
    let slot: DaemonSlot = memory.side();
    let mut taken = 0;
    let mut must_look = V::take(&slot, &mut taken).0.changes() & NET != 0;
    for thread in threads {
        thread.join().expect("a thread ends");
    }
    must_look |= V::take(&slot, &mut taken).0.changes() & NET != 0;
    assert!(must_look, "nobody looks for what no hook has told of");
    assert!(protocol::take_net(&slot) != 0, "what no hook has told of was forgotten");
}

#[test]
fn what_no_hook_tells_of_is_found() {
    explore(None, found::<Real>);
}

#[test]
#[should_panic(expected = "what no hook has told of was forgotten")]
fn a_hook_that_clears_whatever_is_there_is_caught() {
    explore(None, found::<HookedClearsWhateverIsThere>);
}
