//! What the blocks about state held for clients must mean.

use upcall_common::wire::*;

const OPEN: u64 = 7;
const COOKIE: u64 = 0xc0_ffee;
const OWNER: u64 = 0x1234;
const WAITING: u64 = 3;
const FILE: u64 = 5;

fn lease_id() -> LeaseId {
    LeaseId(std::array::from_fn(|place| 0xa0 + place as u8))
}

fn none() -> GrantFlags {
    GrantFlags::default()
}

fn requests() -> Vec<(u32, StateRequest)> {
    let identity = Identity(std::array::from_fn(|place| 0x10 + place as u8));
    let waits = Terms { wait: true, ..Terms::default() };
    vec![
        (10, StateRequest::StateBegin(StateBegin { identity })),
        (11, StateRequest::StateReclaimed(())),
        (
            12,
            StateRequest::Open(Open {
                cookie: COOKIE,
                open: 0,
                lease_id: lease_id(),
                access: Access::Both,
                deny: Deny::Write,
                terms: Terms { advisory_ok: true, ..Terms::default() },
                target: Target::Path(b"/srv/data/a".to_vec()),
            }),
        ),
        (13, StateRequest::OpenChange(OpenChange { open: OPEN, access: Access::Read, deny: Deny::None })),
        (14, StateRequest::Close(Close { open: OPEN })),
        (15, StateRequest::Lease(Lease { open: OPEN, kind: LeaseKind::Write, terms: Terms::default() })),
        (16, StateRequest::Return(Return { open: OPEN, kind: LeaseKind::Write, keep: Keep::Read })),
        (17, StateRequest::Extend(Extend { open: OPEN })),
        (
            18,
            StateRequest::Lock(Lock {
                open: OPEN,
                owner: OWNER,
                start: 4096,
                length: 0,
                kind: LockKind::Write,
                terms: waits,
            }),
        ),
        (19, StateRequest::Unlock(Unlock { open: OPEN, owner: OWNER, start: 4096, length: 1 })),
        (
            20,
            StateRequest::LockTest(LockTest {
                open: OPEN,
                owner: OWNER,
                start: 0,
                length: 100,
                kind: LockKind::Read,
            }),
        ),
        (21, StateRequest::Cancel(Cancel { request: WAITING })),
        (22, StateRequest::StateQuery(StateQuery { target: None })),
    ]
}

fn answers() -> Vec<(u32, StateAnswer)> {
    let means = Means {
        leases: true,
        shares: true,
        locks: true,
        kernel_leases: true,
        kernel_denies: true,
        directories: false,
    };
    let begun = StateBegun {
        code: Code::Ok,
        means,
        recall_ms: 60_000,
        grace_ms: 15_000,
        reclaim_ms: 0,
        text: String::new(),
    };
    let opened = Opened {
        code: Code::Ok,
        flags: GrantFlags { advisory: true },
        open: OPEN,
        file: FILE,
        request: 0,
        text: String::new(),
    };
    let conflict = LockConflict {
        code: Code::Conflict,
        kind: LockKind::Write,
        start: 50,
        length: 10,
        who: Who::Client("b".into()),
        text: String::new(),
    };
    let locked = Locked { code: Code::Waiting, flags: none(), request: WAITING, text: String::new() };
    let shown = |more| StateShown { flags: ShownFlags { more }, json: Json(r#"{"files":[]}"#.into()) };
    vec![
        (10, StateAnswer::StateBegun(begun)),
        (12, StateAnswer::Opened(opened)),
        (
            15,
            StateAnswer::Leased(Leased {
                code: Code::Recalling,
                flags: none(),
                text: "held by client b".into(),
            }),
        ),
        (17, StateAnswer::Extended(Extended { code: Code::Ok, deadline_ms: 90_000, text: String::new() })),
        (18, StateAnswer::Locked(locked)),
        (20, StateAnswer::LockConflict(conflict)),
        (16, StateAnswer::Done(Done { code: Code::NotHeld, text: "a read lease".into() })),
        (22, StateAnswer::StateShown(shown(true))),
    ]
}

fn upcalls() -> Vec<StateUpcall> {
    let recall = Recall {
        open: OPEN,
        cookie: COOKIE,
        lease_id: lease_id(),
        held: LeaseKind::Write,
        keep: Keep::Read,
        deadline_ms: 60_000,
        who: Who::Process(4242),
    };
    vec![
        StateUpcall::Recall(recall),
        StateUpcall::Revoked(Revoked {
            open: OPEN,
            cookie: COOKIE,
            lease_id: lease_id(),
            kind: LeaseKind::Write,
        }),
        StateUpcall::OpenGranted(OpenGranted {
            request: 2,
            code: Code::Ok,
            flags: none(),
            open: 8,
            file: FILE,
            text: String::new(),
        }),
        StateUpcall::LockGranted(LockGranted {
            request: WAITING,
            code: Code::Deadlock,
            flags: none(),
            open: OPEN,
            owner: OWNER,
            text: String::new(),
        }),
        StateUpcall::Contention(Contention {
            open: OPEN,
            cookie: COOKIE,
            owner: OWNER,
            start: 4096,
            length: 0,
            who: Who::Unknown,
        }),
    ]
}

/// In the order of the types.
pub(crate) fn expected() -> Vec<(u32, Message)> {
    let requests = requests().into_iter().map(|(tag, request)| (tag, Message::StateRequest(request)));
    let answers = answers().into_iter().map(|(tag, answer)| (tag, Message::StateAnswer(answer)));
    let upcalls = upcalls().into_iter().map(|upcall| (0, Message::StateUpcall(upcall)));
    let mut all: Vec<(u32, Message)> = requests.chain(answers).chain(upcalls).collect();
    all.sort_by_key(|(_, message)| message.kind());
    all
}
