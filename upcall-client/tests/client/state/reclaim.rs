//! What is held outlives the connection.

use std::collections::VecDeque;
use std::fs::File;
use std::time::Duration;

use bytes::Bytes;
use upcall_client::{
    Access, Client, Code, Deny, Error, Grant, Identity, Keep, LeaseKind, LockKind, LockRequest, Notice,
    OpenRequest, StateClient, StateNotice, Upcalls, Watch,
};
use upcall_common::wire::{
    FEATURE_DESCRIPTORS, FEATURE_STATE, GrantFlags, Known, Lease, Lock, LockGranted, Message, Recall,
    Revoked, StateAnswer, StateBegin, StateRequest, StateUpcall, Target, Terms, Welcome, Who,
};

use super::{IDENTITY, LEASE_ID, beginning, begun, done, holds, lease, leased, lock, locked, open, opened};
use crate::fake::{Daemon, Peer, made, options, soon, welcome};

const RECLAIM: Terms = Terms { reclaim: true, advisory_ok: false, wait: false };

async fn cut(peer: Peer, upcalls: &mut Upcalls) {
    drop(peer);
    match soon(upcalls.next()).await {
        Some(Notice::Disconnected { .. }) => {}
        other => panic!("not Disconnected: {other:?}"),
    }
}

async fn state_notice(upcalls: &mut Upcalls) -> StateNotice {
    match soon(upcalls.next()).await {
        Some(Notice::State(notice)) => notice,
        other => panic!("not about state: {other:?}"),
    }
}

async fn expect_reconnected(upcalls: &mut Upcalls) {
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
}

/// The client says who it is, to a daemon that knows it.
async fn begins_again(daemon: &Daemon) -> Peer {
    let mut peer = daemon.accept_and_welcome(holds(1)).await;
    let sent = peer.state(begun(Code::Ok)).await;
    assert_eq!(sent, StateRequest::StateBegin(StateBegin { identity: IDENTITY }));
    peer
}

#[tokio::test]
async fn what_the_daemon_offers_is_as_it_said_last() {
    let daemon = Daemon::unix();
    let (client, state, mut upcalls, peer) = beginning(&daemon).await;
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(holds(1)).await;
    let StateAnswer::StateBegun(mut other) = begun(Code::Ok) else { panic!("always begun") };
    other.reclaim_ms = 7000;
    peer.state(StateAnswer::StateBegun(other)).await;
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;
    let again = soon(client.begin_state(IDENTITY)).await.expect("it has begun");
    assert_eq!((again.begun().reclaim, state.begun().reclaim), (Duration::from_secs(7), Duration::ZERO));
}

async fn says_that_was_all(peer: &mut Peer) {
    assert_eq!(peer.state(done(Code::Ok)).await, StateRequest::StateReclaimed(()));
}

#[tokio::test]
async fn everything_is_reclaimed_and_keeps_its_name() {
    let daemon = Daemon::unix();
    let (client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let watches = vec![Watch::path("/srv/a", 1)];
    let (registered, _) = tokio::join!(soon(client.register(watches)), peer.grant(900, 10));
    registered.expect("answered");
    let id = open(&state, &mut peer, 500).await;
    let (_, _) = tokio::join!(soon(state.change(id, Access::Both, Deny::Both)), peer.state(done(Code::Ok)));
    for kind in [LeaseKind::Write, LeaseKind::Write, LeaseKind::Read] {
        lease(&state, &mut peer, id, kind).await;
    }
    // One of two becomes a read lease, of which there are two then.
    let give = state.give_back(id, LeaseKind::Write, Keep::Read);
    tokio::join!(soon(give), peer.state(done(Code::Ok))).0.expect("returned");
    lock(&state, &mut peer, id, 0, 100).await;
    tokio::join!(soon(state.unlock(id, 5, 10, 10)), peer.state(done(Code::Ok))).0.expect("unlocked");
    cut(peer, &mut upcalls).await;

    let mut peer = daemon.accept_and_welcome(holds(1)).await;
    // Interests first: RECALL may come as soon as the identity is known.
    let (tag, _) = peer.register().await;
    peer.send(&Message::Registered(vec![made(901, 10, Known::Unchanged)]), tag).await;
    assert!(matches!(peer.state(begun(Code::Ok)).await, StateRequest::StateBegin(_)));
    let again = peer.reclaimed_open(Code::Ok, 600).await;
    assert_eq!((again.open, again.cookie, again.lease_id, again.terms), (500, 70, LEASE_ID, RECLAIM));
    assert_eq!((again.access, again.deny), (Access::Both, Deny::Both));
    let mut kinds = Vec::new();
    for _ in 0..3 {
        match peer.state(leased(Code::Ok)).await {
            StateRequest::Lease(Lease { open: 600, kind, terms: RECLAIM }) => kinds.push(kind),
            other => panic!("{other:?}"),
        }
    }
    kinds.sort();
    assert_eq!(kinds, [LeaseKind::Read, LeaseKind::Read, LeaseKind::Write]);
    let mut ranges = Vec::new();
    for _ in 0..2 {
        match peer.state(locked(Code::Ok, 0)).await {
            StateRequest::Lock(Lock { open: 600, owner: 5, start, length, kind, terms: RECLAIM }) => {
                assert_eq!(kind, LockKind::Write);
                ranges.push((start, length));
            }
            other => panic!("{other:?}"),
        }
    }
    ranges.sort_unstable();
    assert_eq!(ranges, [(0, 10), (20, 80)]);
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;

    let (held, sent) = tokio::join!(soon(state.lease(id, LeaseKind::Read)), peer.state(leased(Code::Ok)));
    held.expect("granted");
    let terms = Terms::default();
    assert_eq!(sent, StateRequest::Lease(Lease { open: 600, kind: LeaseKind::Read, terms }));
}

#[tokio::test]
async fn what_cannot_be_reclaimed_is_told() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let first = open(&state, &mut peer, 500).await;
    let second = open(&state, &mut peer, 501).await;
    lease(&state, &mut peer, first, LeaseKind::Read).await;
    lock(&state, &mut peer, first, 7, 0).await;
    lease(&state, &mut peer, second, LeaseKind::Write).await;
    cut(peer, &mut upcalls).await;

    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    peer.reclaimed_open(Code::NotFound, 0).await;
    assert!(matches!(peer.state(leased(Code::NoReclaim)).await, StateRequest::Lease(_)));
    assert!(matches!(peer.state(locked(Code::Conflict, 0)).await, StateRequest::Lock(_)));
    says_that_was_all(&mut peer).await;
    match state_notice(&mut upcalls).await {
        StateNotice::OpenLost { cookie: 70, open, error } => {
            assert_eq!((open, error.code), (second, Code::NotFound));
        }
        other => panic!("{other:?}"),
    }
    match state_notice(&mut upcalls).await {
        StateNotice::LeaseLost { cookie: 70, open, kind: LeaseKind::Read, error } => {
            assert_eq!((open, error.code), (first, Code::NoReclaim));
        }
        other => panic!("{other:?}"),
    }
    match state_notice(&mut upcalls).await {
        StateNotice::LockLost { open, owner: 5, start: 7, length: 0, error, .. } => {
            assert_eq!((open, error.code), (first, Code::Conflict));
        }
        other => panic!("{other:?}"),
    }
    expect_reconnected(&mut upcalls).await;
    cut(peer, &mut upcalls).await;

    // What is lost stays lost.
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;
}

async fn all_is_lost(
    welcome: Welcome,
    answer: Option<StateAnswer>,
    expected: Code,
) -> (Client, StateClient, Peer) {
    let daemon = Daemon::unix();
    let (client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(welcome).await;
    if let Some(answer) = answer {
        peer.state(answer).await;
    }
    match state_notice(&mut upcalls).await {
        StateNotice::OpenLost { open, error, .. } => assert_eq!((open, error.code), (id, expected)),
        other => panic!("{other:?}"),
    }
    expect_reconnected(&mut upcalls).await;
    match soon(state.open(OpenRequest::path("/srv/a", 70))).await {
        Err(Error::Refused { code: Code::NotBegun, .. }) => {}
        other => panic!("{other:?}"),
    }
    // Everything else goes on.
    let (registered, _) =
        tokio::join!(soon(client.register(vec![Watch::path("/srv/a", 1)])), peer.grant(1, 1));
    assert!(registered.expect("answered")[0].is_ok());
    (client, state, peer)
}

#[tokio::test]
async fn an_identity_that_is_refused_loses_all() {
    let refused = Some(begun(Code::IdentityInUse));
    let (client, state, mut peer) = all_is_lost(holds(1), refused, Code::IdentityInUse).await;
    // Handles from before are good for what begins anew.
    let other = Identity([1; 16]);
    let (begun, _) = tokio::join!(soon(client.begin_state(other)), peer.state(begun(Code::Ok)));
    begun.expect("begun");
    open(&state, &mut peer, 500).await;
}

#[tokio::test]
async fn a_daemon_that_holds_nothing_any_more_loses_all() {
    all_is_lost(welcome(1), None, Code::Disabled).await;
}

#[tokio::test]
async fn many_are_reclaimed_without_waiting_for_each() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    for number in 0..100 {
        open(&state, &mut peer, 500 + number).await;
    }
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    // None is answered yet, and the answer to PING comes after all that the client has to say.
    peer.send(&Message::Ping(Bytes::new()), 9).await;
    let mut waiting = VecDeque::new();
    loop {
        match peer.receive().await {
            (tag, Message::StateRequest(StateRequest::Open(open))) => waiting.push_back((tag, open.open)),
            (9, Message::Pong(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    let window = waiting.len();
    assert!((2..100).contains(&window), "{window} at once");
    let mut seen = Vec::new();
    while let Some((tag, number)) = waiting.pop_front() {
        seen.push(number);
        peer.send(&Message::StateAnswer(opened(Code::Ok, number, 0)), tag).await;
        if seen.len() + waiting.len() < 100 {
            match peer.receive().await {
                (tag, Message::StateRequest(StateRequest::Open(open))) => waiting.push_back((tag, open.open)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(seen.into_iter().eq(500..600));
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;
}

#[tokio::test]
async fn an_answer_out_of_turn_ends_the_connection() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    open(&state, &mut peer, 500).await;
    open(&state, &mut peer, 501).await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    peer.receive().await;
    let (second, _) = peer.receive().await;
    peer.send(&Message::StateAnswer(opened(Code::Ok, 501, 0)), second).await;
    match soon(upcalls.next()).await {
        Some(Notice::Disconnected { reason }) => assert!(reason.contains("another order"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_step_that_fails_as_a_whole_is_lost_alone() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let first = open(&state, &mut peer, 500).await;
    open(&state, &mut peer, 501).await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    let (tag, _) = peer.receive().await;
    peer.send(&Message::Error { code: Code::Internal, message: String::new() }, tag).await;
    assert_eq!(peer.reclaimed_open(Code::Ok, 501).await.open, 501);
    says_that_was_all(&mut peer).await;
    match state_notice(&mut upcalls).await {
        StateNotice::OpenLost { open, error, .. } => assert_eq!((open, error.code), (first, Code::Internal)),
        other => panic!("{other:?}"),
    }
    expect_reconnected(&mut upcalls).await;
}

#[tokio::test]
async fn a_connection_that_breaks_while_reclaiming_begins_anew() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    open(&state, &mut peer, 500).await;
    open(&state, &mut peer, 501).await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 600).await;
    peer.receive().await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    assert_eq!(peer.reclaimed_open(Code::Ok, 600).await.open, 600);
    assert_eq!(peer.reclaimed_open(Code::Ok, 601).await.open, 501);
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;
}

#[tokio::test]
async fn what_is_given_up_while_the_connection_breaks_is_not_reclaimed() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let kept = open(&state, &mut peer, 500).await;
    let closed = open(&state, &mut peer, 501).await;
    lease(&state, &mut peer, kept, LeaseKind::Read).await;
    let take = async {
        peer.receive().await;
        cut(peer, &mut upcalls).await;
    };
    let (outcome, ()) = tokio::join!(soon(state.close(closed)), take);
    outcome.expect("it is as good as closed");
    let mut peer = begins_again(&daemon).await;
    assert_eq!(peer.reclaimed_open(Code::Ok, 500).await.open, 500);
    assert!(matches!(peer.state(leased(Code::Ok)).await, StateRequest::Lease(_)));
    says_that_was_all(&mut peer).await;
    expect_reconnected(&mut upcalls).await;

    let take = async {
        peer.receive().await;
        cut(peer, &mut upcalls).await;
    };
    let (outcome, ()) = tokio::join!(soon(state.give_back(kept, LeaseKind::Read, Keep::None)), take);
    outcome.expect("it is as good as returned");
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    says_that_was_all(&mut peer).await;
}

/// Answers an OPEN as one of the file 5.
async fn opened_there(peer: &mut Peer, number: u64) {
    let StateAnswer::Opened(mut answer) = opened(Code::Ok, number, 0) else { panic!("always opened") };
    answer.file = 5;
    peer.state(StateAnswer::Opened(answer)).await;
}

/// Takes LOCKs until the client says that it was all.
async fn reclaimed_locks(peer: &mut Peer) -> Vec<(u64, u64, u64)> {
    let mut locks = Vec::new();
    loop {
        let (tag, message) = peer.receive().await;
        let answer = match message {
            Message::StateRequest(StateRequest::Lock(Lock { open, start, length, .. })) => {
                locks.push((open, start, length));
                locked(Code::Ok, 0)
            }
            Message::StateRequest(StateRequest::StateReclaimed(())) => done(Code::Ok),
            other => panic!("{other:?}"),
        };
        let all = matches!(answer, StateAnswer::Done(_));
        peer.send(&Message::StateAnswer(answer), tag).await;
        if all {
            return locks;
        }
    }
}

#[tokio::test]
async fn what_an_owner_gives_up_by_another_open_of_the_file_stays_given_up() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let mut ids = Vec::new();
    for number in [500, 501] {
        let request = OpenRequest::path(format!("/srv/{number}"), 70).access(Access::Both);
        let (grant, ()) = tokio::join!(soon(state.open(request)), opened_there(&mut peer, number));
        let Ok(Grant::Granted(opened)) = grant else { panic!("{grant:?}") };
        ids.push(opened.open);
    }
    lock(&state, &mut peer, ids[0], 0, 100).await;
    tokio::join!(soon(state.unlock(ids[1], 5, 10, 10)), peer.state(done(Code::Ok))).0.expect("unlocked");
    lock(&state, &mut peer, ids[1], 50, 10).await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    opened_there(&mut peer, 500).await;
    opened_there(&mut peer, 501).await;
    let locks = reclaimed_locks(&mut peer).await;
    assert_eq!(locks, [(500, 0, 10), (500, 20, 30), (500, 60, 40), (501, 50, 10)]);
}

#[tokio::test]
async fn what_the_daemon_does_not_unlock_is_reclaimed() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    lock(&state, &mut peer, id, 0, 100).await;
    let refusal = tokio::join!(soon(state.unlock(id, 5, 10, 10)), peer.state(done(Code::TooManyLocks))).0;
    assert!(matches!(refusal, Err(Error::Refused { code: Code::TooManyLocks, .. })), "{refusal:?}");
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    assert_eq!(reclaimed_locks(&mut peer).await, [(500, 0, 100)]);
}

#[tokio::test]
async fn a_lock_granted_before_its_unlock_is_not_reclaimed() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let wanted = LockRequest::new(5, LockKind::Write, 0, 100).wait(true);
    let (waiting, _) = tokio::join!(soon(state.lock(id, wanted)), peer.state(locked(Code::Waiting, 33)));
    assert!(matches!(waiting, Ok(Grant::Waiting(_))), "{waiting:?}");
    let answer = async {
        let (tag, _) = peer.receive().await;
        let (code, flags, text) = (Code::Ok, GrantFlags::default(), String::new());
        let granted = LockGranted { request: 33, code, flags, open: 500, owner: 5, text };
        peer.send(&Message::StateUpcall(StateUpcall::LockGranted(granted)), 0).await;
        peer.send(&Message::StateAnswer(done(Code::Ok)), tag).await;
    };
    tokio::join!(soon(state.unlock(id, 5, 0, 100)), answer).0.expect("unlocked");
    assert!(matches!(state_notice(&mut upcalls).await, StateNotice::LockGranted { outcome: Ok(_), .. }));
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    assert!(reclaimed_locks(&mut peer).await.is_empty());
}

#[tokio::test]
async fn a_change_that_nobody_knows_of_leaves_what_is_certain() {
    for (access, deny, certain) in [
        (Access::Read, Deny::Both, (Access::Read, Deny::Write)),
        (Access::Both, Deny::Read, (Access::Both, Deny::None)),
        (Access::Write, Deny::Write, (Access::Write, Deny::Write)),
    ] {
        let daemon = Daemon::unix();
        let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
        // For both, others may not write.
        let id = open(&state, &mut peer, 500).await;
        let take = async {
            let (_, sent) = peer.receive().await;
            assert!(matches!(sent, Message::StateRequest(StateRequest::OpenChange(_))), "{sent:?}");
            cut(peer, &mut upcalls).await;
        };
        let (outcome, ()) = tokio::join!(soon(state.change(id, access, deny)), take);
        assert!(matches!(outcome, Err(Error::Disconnected)), "{outcome:?}");
        let mut peer = begins_again(&daemon).await;
        let again = peer.reclaimed_open(Code::Ok, 500).await;
        assert_eq!((again.access, again.deny), certain);
    }
}

/// A weaker lock in the midst of one; and a change that the daemon refuses for that one's sake.
#[tokio::test]
async fn requests_that_nobody_knows_of_cost_no_lock() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let wanted = LockRequest::new(5, LockKind::Write, 0, 100);
    let (lock, _) = tokio::join!(soon(state.lock(id, wanted)), peer.state(locked(Code::Ok, 0)));
    assert!(matches!(lock, Ok(Grant::Granted(_))), "{lock:?}");
    let unanswered = async {
        peer.receive().await;
        cut(peer, &mut upcalls).await;
    };
    let weaker = LockRequest::new(5, LockKind::Read, 10, 10);
    let (outcome, ()) = tokio::join!(soon(state.lock(id, weaker)), unanswered);
    assert!(matches!(outcome, Err(Error::Disconnected)), "{outcome:?}");
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    let left = vec![(500, 0, 10), (500, 10, 10), (500, 20, 80)];
    assert_eq!(reclaimed_locks(&mut peer).await, left);
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Reconnected)));
    let unanswered = async {
        peer.receive().await;
        cut(peer, &mut upcalls).await;
    };
    let (outcome, ()) = tokio::join!(soon(state.change(id, Access::Read, Deny::None)), unanswered);
    assert!(matches!(outcome, Err(Error::Disconnected)), "{outcome:?}");
    let mut peer = begins_again(&daemon).await;
    let again = peer.reclaimed_open(Code::Ok, 500).await;
    assert_eq!(again.access, Access::Both);
    assert_eq!(reclaimed_locks(&mut peer).await, left);
}

#[tokio::test]
async fn what_waits_ends_with_the_connection() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let wanted = LockRequest::new(5, LockKind::Write, 0, 100).wait(true);
    let (lock, _) = tokio::join!(soon(state.lock(id, wanted)), peer.state(locked(Code::Waiting, 33)));
    let Ok(Grant::Waiting(lock)) = lock else { panic!("{lock:?}") };
    let wanted = OpenRequest::path("/srv/b", 71).wait(true);
    let (open, _) = tokio::join!(soon(state.open(wanted)), peer.state(opened(Code::Waiting, 0, 34)));
    let Ok(Grant::Waiting(open)) = open else { panic!("{open:?}") };
    cut(peer, &mut upcalls).await;
    match state_notice(&mut upcalls).await {
        StateNotice::LockGranted { cookie: 70, request, outcome: Err(error), .. } => {
            assert_eq!((request, error.code), (lock, Code::Released));
        }
        other => panic!("{other:?}"),
    }
    match state_notice(&mut upcalls).await {
        StateNotice::OpenGranted { cookie: 71, request, outcome: Err(error) } => {
            assert_eq!((request, error.code), (open, Code::Released));
        }
        other => panic!("{other:?}"),
    }
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    says_that_was_all(&mut peer).await;
}

#[tokio::test]
async fn a_lease_revoked_while_reclaiming_is_lost_once() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    lease(&state, &mut peer, id, LeaseKind::Write).await;
    lease(&state, &mut peer, id, LeaseKind::Write).await;
    cut(peer, &mut upcalls).await;
    let mut peer = begins_again(&daemon).await;
    peer.reclaimed_open(Code::Ok, 500).await;
    let (kind, keep, who) = (LeaseKind::Write, Keep::None, Who::Unknown);
    let mut tags = Vec::new();
    for _ in 0..2 {
        let (tag, request) = peer.receive().await;
        assert!(matches!(request, Message::StateRequest(StateRequest::Lease(_))));
        tags.push(tag);
    }
    let recall = Recall { open: 500, cookie: 70, lease_id: LEASE_ID, held: kind, keep, deadline_ms: 0, who };
    peer.send(&Message::StateUpcall(StateUpcall::Recall(recall)), 0).await;
    let revoked = Revoked { open: 500, cookie: 70, lease_id: LEASE_ID, kind };
    peer.send(&Message::StateUpcall(StateUpcall::Revoked(revoked)), 0).await;
    for tag in tags {
        peer.send(&Message::StateAnswer(leased(Code::NoReclaim)), tag).await;
    }
    says_that_was_all(&mut peer).await;
    assert!(matches!(state_notice(&mut upcalls).await, StateNotice::Recall { .. }));
    assert!(matches!(state_notice(&mut upcalls).await, StateNotice::Revoked { .. }));
    expect_reconnected(&mut upcalls).await;
}

#[tokio::test]
async fn a_descriptor_is_passed_again() {
    let daemon = Daemon::unix();
    let both = Welcome { features: FEATURE_STATE | FEATURE_DESCRIPTORS, ..welcome(1) };
    let (client, mut upcalls, mut peer) = daemon.connect(options(), both.clone()).await;
    let (state, _) = tokio::join!(soon(client.begin_state(IDENTITY)), peer.state(begun(Code::Ok)));
    let state = state.expect("begun");
    let request = OpenRequest::descriptor(File::open("/dev/null").expect("always there"), 70);
    let (grant, _) = tokio::join!(soon(state.open(request)), peer.state(opened(Code::Ok, 500, 0)));
    grant.expect("granted");
    assert_eq!(peer.files.len(), 1);
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(both).await;
    peer.state(begun(Code::Ok)).await;
    assert_eq!(peer.reclaimed_open(Code::Ok, 500).await.target, Target::Descriptor(0));
    assert_eq!(peer.files.len(), 1);
}
