//! Random requests, disconnections, reclaims, time and answers of the kernel, of table and model alike.

mod calls;
mod claims;
mod invariants;
mod kernel;
mod lists;
mod lock_rules;
mod naive;
mod rules;
mod run;
mod said;

use proptest::prelude::*;

use super::super::*;
use run::Run;

const FILES: [InodeId; 2] = [InodeId(0), InodeId(1)];
const BYTES: u64 = 8;

/// Numbers without a range of their own choose among what there is.
#[derive(Clone, Debug)]
enum Op {
    Begin(u8),
    Disconnect(u8),
    Open(u8, OpenRequest),
    Change(usize, Access, Deny),
    Close(usize),
    Lease(usize, LeaseKind, bool, bool),
    GiveBack(usize, LeaseKind, Keep),
    Extend(usize),
    Lock(usize, LockRequest),
    Unlock(usize, u64, Range),
    Cancel(usize),
    /// Of an open that awaits it; and of what it carries, that of which there is a bit.
    Reclaim(usize, u16),
    Reclaimed(u8),
    Obtain(usize, Kernel),
    Answer(usize, Kernel),
    Breaks(InodeId, Keep),
    Outside(InodeId, Keep, Option<u8>),
    Lost(InodeId),
    Pass(u64),
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Both)]
}

fn deny() -> impl Strategy<Value = Deny> {
    prop_oneof![8 => Just(Deny::None), 1 => Just(Deny::Read), 1 => Just(Deny::Write), 1 => Just(Deny::Both)]
}

fn kind() -> impl Strategy<Value = LeaseKind> {
    prop_oneof![Just(LeaseKind::Read), Just(LeaseKind::Write)]
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![Just(Keep::None), Just(Keep::Read)]
}

fn file() -> impl Strategy<Value = InodeId> {
    prop_oneof![3 => Just(FILES[0]), 1 => Just(FILES[1])]
}

fn range() -> impl Strategy<Value = Range> {
    (0..BYTES, 0..BYTES).prop_map(|(a, b)| Range::between(a.min(b), a.max(b)))
}

fn says() -> impl Strategy<Value = Kernel> {
    prop_oneof![
        8 => Just(Kernel::Held),
        1 => Just(Kernel::Refused(Who::Process(7))),
        1 => Just(Kernel::Unsupported),
    ]
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn open() -> impl Strategy<Value = Op> {
    (0..3u8, file(), access(), deny(), 0..2u8, rarely(), any::<bool>(), any::<bool>()).prop_map(
        |(by, inode, access, deny, id, reclaim, advisory_ok, wait)| {
            let lease_id = LeaseId([id; 16]);
            Op::Open(
                by,
                OpenRequest {
                    inode,
                    export: 0,
                    writable: true,
                    access,
                    deny,
                    lease_id,
                    cookie: 0,
                    // Of an open that never was.
                    reclaim: reclaim.then_some(OpenId(0)),
                    advisory_ok,
                    wait,
                },
            )
        },
    )
}

fn lock() -> impl Strategy<Value = Op> {
    (any::<usize>(), 0..2u64, any::<bool>(), range(), any::<bool>(), rarely(), any::<bool>()).prop_map(
        |(at, owner, writes, range, wait, reclaim, advisory_ok)| {
            let kind = if writes { LockKind::Write } else { LockKind::Read };
            let open = OpenId(0);
            Op::Lock(at, LockRequest { open, owner, kind, range, wait, reclaim, advisory_ok })
        },
    )
}

fn ops() -> impl Strategy<Value = Op> {
    let at = any::<usize>;
    prop_oneof![
        2 => (0..3u8).prop_map(Op::Begin),
        1 => (0..3u8).prop_map(Op::Disconnect),
        8 => open(),
        2 => (at(), access(), deny()).prop_map(|(at, access, deny)| Op::Change(at, access, deny)),
        3 => at().prop_map(Op::Close),
        9 => (at(), kind(), rarely(), any::<bool>()).prop_map(|(at, kind, re, ok)| Op::Lease(at, kind, re, ok)),
        4 => (at(), kind(), keep()).prop_map(|(at, kind, keep)| Op::GiveBack(at, kind, keep)),
        1 => at().prop_map(Op::Extend),
        12 => lock(),
        4 => (at(), 0..2u64, range()).prop_map(|(at, owner, range)| Op::Unlock(at, owner, range)),
        1 => at().prop_map(Op::Cancel),
        4 => (at(), any::<u16>()).prop_map(|(at, what)| Op::Reclaim(at, what)),
        1 => (0..3u8).prop_map(Op::Reclaimed),
        3 => (at(), says()).prop_map(|(at, says)| Op::Obtain(at, says)),
        20 => (at(), says()).prop_map(|(at, says)| Op::Answer(at, says)),
        1 => (file(), keep()).prop_map(|(file, keep)| Op::Breaks(file, keep)),
        1 => (file(), keep(), prop::option::of(0..3u8)).prop_map(|(file, keep, by)| Op::Outside(file, keep, by)),
        1 => file().prop_map(Op::Lost),
        2 => (1..20u64).prop_map(Op::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_what_plain_lists_say(
        restarted in rarely(),
        small in any::<bool>(),
        steps in prop::collection::vec((ops(), says()), 1..120),
    ) {
        let mut run = Run::new(restarted, small);
        for (op, says) in steps {
            run.step(op, &says);
        }
        run.end();
    }
}
