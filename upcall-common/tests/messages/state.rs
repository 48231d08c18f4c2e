//! Strategies for messages about state held for clients.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use upcall_common::wire::*;

use super::{code, target};

const TEXT: &str = ".{0,30}";

fn lease_id() -> impl Strategy<Value = LeaseId> {
    any::<[u8; 16]>().prop_map(LeaseId)
}

fn terms() -> impl Strategy<Value = Terms> {
    any::<(bool, bool, bool)>().prop_map(|(reclaim, advisory_ok, wait)| Terms { reclaim, advisory_ok, wait })
}

fn grant_flags() -> impl Strategy<Value = GrantFlags> {
    any::<bool>().prop_map(|advisory| GrantFlags { advisory })
}

fn means() -> impl Strategy<Value = Means> {
    any::<[bool; 6]>().prop_map(|[leases, shares, locks, kernel_leases, kernel_denies, directories]| Means {
        leases,
        shares,
        locks,
        kernel_leases,
        kernel_denies,
        directories,
    })
}

fn lease_kind() -> impl Strategy<Value = LeaseKind> {
    select(LeaseKind::ALL)
}

fn lock_kind() -> impl Strategy<Value = LockKind> {
    select(LockKind::ALL)
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::Unknown), any::<u32>().prop_map(Who::Process), TEXT.prop_map(Who::Client)]
}

fn request() -> impl Strategy<Value = StateRequest> {
    let open = (any::<(u64, u64)>(), lease_id(), select(Access::ALL), select(Deny::ALL), terms(), target())
        .prop_map(|((cookie, open), lease_id, access, deny, terms, target)| Open {
            cookie,
            open,
            lease_id,
            access,
            deny,
            terms,
            target,
        });
    let change = (any::<u64>(), select(Access::ALL), select(Deny::ALL))
        .prop_map(|(open, access, deny)| StateRequest::OpenChange(OpenChange { open, access, deny }));
    let lease = (any::<u64>(), lease_kind(), terms())
        .prop_map(|(open, kind, terms)| StateRequest::Lease(Lease { open, kind, terms }));
    let give_back = (any::<u64>(), lease_kind(), select(Keep::ALL))
        .prop_map(|(open, kind, keep)| StateRequest::Return(Return { open, kind, keep }));
    let lock =
        (any::<[u64; 4]>(), lock_kind(), terms()).prop_map(|([open, owner, start, length], kind, terms)| {
            StateRequest::Lock(Lock { open, owner, start, length, kind, terms })
        });
    let test = (any::<[u64; 4]>(), lock_kind()).prop_map(|([open, owner, start, length], kind)| {
        StateRequest::LockTest(LockTest { open, owner, start, length, kind })
    });
    let unlock = any::<[u64; 4]>()
        .prop_map(|[open, owner, start, length]| StateRequest::Unlock(Unlock { open, owner, start, length }));
    // Kind 0 means none, as it does in the document.
    let query = option::of(target()).prop_map(|target| StateRequest::StateQuery(StateQuery { target }));
    prop_oneof![
        any::<[u8; 16]>()
            .prop_map(|identity| StateRequest::StateBegin(StateBegin { identity: Identity(identity) })),
        Just(StateRequest::StateReclaimed(())),
        open.prop_map(StateRequest::Open),
        change,
        any::<u64>().prop_map(|open| StateRequest::Close(Close { open })),
        lease,
        give_back,
        any::<u64>().prop_map(|open| StateRequest::Extend(Extend { open })),
        lock,
        unlock,
        test,
        any::<u64>().prop_map(|request| StateRequest::Cancel(Cancel { request })),
        query,
    ]
}

fn answer() -> impl Strategy<Value = StateAnswer> {
    let begun = (code(), means(), any::<[u32; 3]>(), TEXT).prop_map(
        |(code, means, [recall_ms, grace_ms, reclaim_ms], text)| {
            StateAnswer::StateBegun(StateBegun { code, means, recall_ms, grace_ms, reclaim_ms, text })
        },
    );
    let opened = (code(), grant_flags(), any::<[u64; 3]>(), TEXT).prop_map(
        |(code, flags, [open, file, request], text)| {
            StateAnswer::Opened(Opened { code, flags, open, file, request, text })
        },
    );
    let leased = (code(), grant_flags(), TEXT)
        .prop_map(|(code, flags, text)| StateAnswer::Leased(Leased { code, flags, text }));
    let extended = (code(), any::<u32>(), TEXT)
        .prop_map(|(code, deadline_ms, text)| StateAnswer::Extended(Extended { code, deadline_ms, text }));
    let locked = (code(), grant_flags(), any::<u64>(), TEXT)
        .prop_map(|(code, flags, request, text)| StateAnswer::Locked(Locked { code, flags, request, text }));
    let conflict = (code(), lock_kind(), any::<(u64, u64)>(), who(), TEXT).prop_map(
        |(code, kind, (start, length), who, text)| {
            StateAnswer::LockConflict(LockConflict { code, kind, start, length, who, text })
        },
    );
    let done = (code(), TEXT).prop_map(|(code, text)| StateAnswer::Done(Done { code, text }));
    prop_oneof![begun, opened, leased, extended, locked, conflict, done]
}

fn upcall() -> impl Strategy<Value = StateUpcall> {
    let recall = (any::<(u64, u64, u32)>(), lease_id(), lease_kind(), select(Keep::ALL), who()).prop_map(
        |((open, cookie, deadline_ms), lease_id, held, keep, who)| {
            StateUpcall::Recall(Recall { open, cookie, lease_id, held, keep, deadline_ms, who })
        },
    );
    let revoked =
        (any::<(u64, u64)>(), lease_id(), lease_kind()).prop_map(|((open, cookie), lease_id, kind)| {
            StateUpcall::Revoked(Revoked { open, cookie, lease_id, kind })
        });
    let opened = (any::<[u64; 3]>(), code(), grant_flags(), TEXT).prop_map(
        |([request, open, file], code, flags, text)| {
            StateUpcall::OpenGranted(OpenGranted { request, code, flags, open, file, text })
        },
    );
    let locked = (any::<[u64; 3]>(), code(), grant_flags(), TEXT).prop_map(
        |([request, open, owner], code, flags, text)| {
            StateUpcall::LockGranted(LockGranted { request, code, flags, open, owner, text })
        },
    );
    let contention = (any::<[u64; 5]>(), who()).prop_map(|([open, cookie, owner, start, length], who)| {
        StateUpcall::Contention(Contention { open, cookie, owner, start, length, who })
    });
    prop_oneof![recall, revoked, opened, locked, contention]
}

/// Messages whose bodies may grow at the end.
pub(super) fn extensible() -> impl Strategy<Value = Message> {
    prop_oneof![
        request().prop_map(Message::StateRequest),
        answer().prop_map(Message::StateAnswer),
        upcall().prop_map(Message::StateUpcall),
    ]
}

/// The one whose whole body has a meaning.
pub(super) fn shown() -> impl Strategy<Value = Message> {
    (any::<bool>(), ".{0,60}").prop_map(|(more, json)| {
        let shown = StateShown { flags: ShownFlags { more }, json: Json(json) };
        Message::StateAnswer(StateAnswer::StateShown(shown))
    })
}
