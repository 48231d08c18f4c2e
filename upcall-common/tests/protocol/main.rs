//! The protocol between BPF programs and the daemon, in every interleaving that loom finds: the code that both sides
//! run, and variants of it with one step wrong, each of which must be caught.

mod attrs;
mod memory;
mod net;
mod queue;
mod ring;
mod slot;
mod variant;

/// Switches away from a thread that could go on, where orders of fences are tried too: they are too many to try all.
const PREEMPTIONS: usize = 2;

/// Runs `scenario` in every order of its accesses, or in those with so many `preemptions`; and then in those orders of
/// accesses and fences with few.
fn explore(preemptions: Option<usize>, scenario: impl Fn() + Copy + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    for (fences, preemptions) in [(false, preemptions), (true, Some(PREEMPTIONS))] {
        memory::ORDER_FENCES.set(fences);
        builder.preemption_bound = preemptions;
        builder.check(scenario);
    }
}
