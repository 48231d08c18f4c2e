//! What is asked and answered while the connection lasts.

use std::time::Duration;

use upcall_client::{
    Access, Deny, Error, Grant, Held, Identity, Keep, LeaseKind, LockKind, LockRequest, Notice, OpenRequest,
    StateNotice, Who,
};
use upcall_common::wire::{
    Close, Code, Contention, Extended, GrantFlags, Json, Lease, Lock, LockConflict, LockGranted, Message,
    OpenChange, OpenGranted, Recall, Return, Revoked, ShownFlags, StateAnswer, StateBegin, StateRequest,
    StateShown, StateUpcall, Terms, Unlock,
};

use super::{IDENTITY, LEASE_ID, beginning, begun, done, holds, lease, leased, locked, open, opened};
use crate::fake::{Daemon, options, soon, welcome};

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Code {
    match outcome {
        Err(Error::Refused { code, .. }) => code,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_without_the_feature_is_not_asked() {
    let daemon = Daemon::unix();
    let (client, _upcalls, _peer) = daemon.connect(options(), welcome(1)).await;
    let error = soon(client.begin_state(IDENTITY)).await.expect_err("nothing is offered");
    assert!(error.to_string().contains("leases = true"), "{error}");
    assert!(matches!(soon(client.query_state(None)).await, Err(Error::NoState)));
}

#[tokio::test]
async fn state_begins_once() {
    let daemon = Daemon::unix();
    let (client, state, _upcalls, mut peer) = beginning(&daemon).await;
    assert_eq!((state.begun().recall, state.begun().means.leases), (Duration::from_secs(60), true));
    assert!(matches!(soon(client.begin_state(Identity([1; 16]))).await, Err(Error::Begun)));
    // The daemon is not asked again.
    let again = soon(client.begin_state(IDENTITY)).await.expect("it has begun");
    assert_eq!(again.begun(), state.begun());
    open(&again, &mut peer, 500).await;
}

#[tokio::test]
async fn state_that_was_refused_may_begin_again() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) = daemon.connect(options(), holds(1)).await;
    let answer = peer.state(begun(Code::IdentityInUse));
    let (refused, _) = tokio::join!(soon(client.begin_state(IDENTITY)), answer);
    assert_eq!(refusal(refused), Code::IdentityInUse);
    let other = Identity([1; 16]);
    let (state, sent) = tokio::join!(soon(client.begin_state(other)), peer.state(begun(Code::Ok)));
    assert_eq!(sent, StateRequest::StateBegin(StateBegin { identity: other }));
    open(&state.expect("begun"), &mut peer, 500).await;
}

#[tokio::test]
async fn state_whose_beginning_nobody_hears_of_can_be_had() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) = daemon.connect(options(), holds(1)).await;
    let (tag, _) = tokio::select! {
        outcome = client.begin_state(IDENTITY) => panic!("not answered yet: {outcome:?}"),
        frame = peer.receive() => frame,
    };
    peer.send(&Message::StateAnswer(begun(Code::Ok)), tag).await;
    let state = soon(client.begin_state(IDENTITY)).await.expect("it has begun");
    open(&state, &mut peer, 500).await;
}

#[tokio::test]
async fn each_request_names_the_open_as_the_daemon_does() {
    let daemon = Daemon::unix();
    let (client, state, _upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let kind = LeaseKind::Write;
    let answer = peer.state(leased(Code::Ok));
    let (held, sent) = tokio::join!(soon(state.lease(id, kind)), answer);
    assert_eq!(held.expect("granted"), Held { advisory: true });
    assert_eq!(sent, StateRequest::Lease(Lease { open: 500, kind, terms: Terms::default() }));

    let answer = peer.state(StateAnswer::Extended(Extended {
        code: Code::Ok,
        deadline_ms: 90_000,
        text: String::new(),
    }));
    let (left, _) = tokio::join!(soon(state.extend(id)), answer);
    assert_eq!(left.expect("granted"), Duration::from_secs(90));

    let (given, sent) = tokio::join!(soon(state.give_back(id, kind, Keep::Read)), peer.state(done(Code::Ok)));
    given.expect("returned");
    assert_eq!(sent, StateRequest::Return(Return { open: 500, kind, keep: Keep::Read }));

    let change = OpenChange { open: 500, access: Access::Read, deny: Deny::None };
    let (changed, sent) =
        tokio::join!(soon(state.change(id, change.access, change.deny)), peer.state(done(Code::Conflict)));
    assert_eq!(refusal(changed), Code::Conflict);
    assert_eq!(sent, StateRequest::OpenChange(change));

    let (unlocked, sent) = tokio::join!(soon(state.unlock(id, 5, 10, 0)), peer.state(done(Code::Ok)));
    unlocked.expect("unlocked");
    assert_eq!(sent, StateRequest::Unlock(Unlock { open: 500, owner: 5, start: 10, length: 0 }));

    let answer = |more, json: &str| {
        StateAnswer::StateShown(StateShown { flags: ShownFlags { more }, json: Json(json.into()) })
    };
    let shown = peer.answers([answer(true, "1"), answer(true, "2"), answer(false, "3")]);
    let (json, _) = tokio::join!(soon(client.query_state(None)), shown);
    assert_eq!(json.expect("shown"), ["1", "2", "3"]);

    let (closed, sent) = tokio::join!(soon(state.close(id)), peer.state(done(Code::Ok)));
    closed.expect("closed");
    assert_eq!(sent, StateRequest::Close(Close { open: 500 }));
    assert_eq!(refusal(soon(state.lease(id, kind)).await), Code::NotOpen);
}

#[tokio::test]
async fn a_refusal_has_its_code_and_its_text() {
    let daemon = Daemon::unix();
    let (_client, state, _upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let (held, _) = tokio::join!(soon(state.lease(id, LeaseKind::Read)), peer.state(leased(Code::Recalling)));
    match held {
        Err(Error::Refused { code: Code::Recalling, message }) => assert_eq!(message, "because"),
        other => panic!("{other:?}"),
    }
    let beyond = LockRequest::new(5, LockKind::Read, 2, u64::MAX);
    assert_eq!(refusal(soon(state.lock(id, beyond)).await), Code::BadRange);
}

#[tokio::test]
async fn what_is_in_the_way_of_a_lock_is_told() {
    let daemon = Daemon::unix();
    let (_client, state, _upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let test = |code| {
        let (kind, who) = (LockKind::Write, Who::Process(42));
        let text = String::new();
        StateAnswer::LockConflict(LockConflict { code, kind, start: 7, length: 0, who, text })
    };
    let wanted = LockRequest::new(5, LockKind::Read, 0, 100);
    let (free, _) = tokio::join!(soon(state.test_lock(id, wanted)), peer.state(test(Code::Ok)));
    assert_eq!(free.expect("answered"), None);
    let (blocked, _) = tokio::join!(soon(state.test_lock(id, wanted)), peer.state(test(Code::LocalConflict)));
    let blocker = blocked.expect("answered").expect("something is in the way");
    assert_eq!((blocker.start, blocker.length, blocker.who), (7, 0, Who::Process(42)));
    let (refused, _) = tokio::join!(soon(state.test_lock(id, wanted)), peer.state(test(Code::NotOpen)));
    assert_eq!(refusal(refused), Code::NotOpen);
}

#[tokio::test]
async fn upcalls_name_the_open_as_the_program_does() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    lease(&state, &mut peer, id, LeaseKind::Write).await;
    let recall = |open| {
        let (held, keep, who) = (LeaseKind::Write, Keep::Read, Who::Client(String::from("b")));
        let recall = Recall { open, cookie: 70, lease_id: LEASE_ID, held, keep, deadline_ms: 60_000, who };
        Message::StateUpcall(StateUpcall::Recall(recall))
    };
    // Of an open that is closed nothing is told.
    peer.send(&recall(499), 0).await;
    peer.send(&recall(500), 0).await;
    let told = StateNotice::Recall {
        cookie: 70,
        open: id,
        lease_id: LEASE_ID,
        held: LeaseKind::Write,
        keep: Keep::Read,
        deadline: Duration::from_secs(60),
        who: Who::Client(String::from("b")),
    };
    assert_eq!(soon(upcalls.next()).await, Some(Notice::State(told)));
    let revoked = Revoked { open: 500, cookie: 70, lease_id: LEASE_ID, kind: LeaseKind::Write };
    peer.send(&Message::StateUpcall(StateUpcall::Revoked(revoked)), 0).await;
    let told = StateNotice::Revoked { cookie: 70, open: id, lease_id: LEASE_ID, kind: LeaseKind::Write };
    assert_eq!(soon(upcalls.next()).await, Some(Notice::State(told)));
    let contention = Contention { open: 500, cookie: 70, owner: 5, start: 1, length: 2, who: Who::Unknown };
    peer.send(&Message::StateUpcall(StateUpcall::Contention(contention)), 0).await;
    let told =
        StateNotice::Contention { cookie: 70, open: id, owner: 5, start: 1, length: 2, who: Who::Unknown };
    assert_eq!(soon(upcalls.next()).await, Some(Notice::State(told)));
}

fn lock_granted(request: u64, code: Code) -> Message {
    let (flags, text) = (GrantFlags::default(), String::new());
    Message::StateUpcall(StateUpcall::LockGranted(LockGranted {
        request,
        code,
        flags,
        open: 500,
        owner: 5,
        text,
    }))
}

#[tokio::test]
async fn a_lock_that_waits_is_told_of_once() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let id = open(&state, &mut peer, 500).await;
    let wanted = LockRequest::new(5, LockKind::Write, 0, 100).wait(true);
    let (grant, sent) = tokio::join!(soon(state.lock(id, wanted)), peer.state(locked(Code::Waiting, 33)));
    let Ok(Grant::Waiting(request)) = grant else { panic!("{grant:?}") };
    let terms = Terms { wait: true, ..Terms::default() };
    let lock = Lock { open: 500, owner: 5, start: 0, length: 100, kind: LockKind::Write, terms };
    assert_eq!(sent, StateRequest::Lock(lock));
    let cancel = async {
        match peer.state(done(Code::Ok)).await {
            StateRequest::Cancel(cancel) => assert_eq!(cancel.request, 33),
            other => panic!("{other:?}"),
        }
        peer.send(&lock_granted(33, Code::Cancelled), 0).await;
        peer.send(&lock_granted(33, Code::Ok), 0).await;
    };
    let (cancelled, ()) = tokio::join!(soon(state.cancel(request)), cancel);
    cancelled.expect("it waited");
    match soon(upcalls.next()).await {
        Some(Notice::State(StateNotice::LockGranted { request: told, open, outcome, .. })) => {
            assert_eq!((told, open), (request, id));
            assert_eq!(outcome.map_err(|error| error.code), Err(Code::Cancelled));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(refusal(soon(state.cancel(request)).await), Code::NoRequest);
}

#[tokio::test]
async fn an_open_that_waited_can_be_used() {
    let daemon = Daemon::unix();
    let (_client, state, mut upcalls, mut peer) = beginning(&daemon).await;
    let wanted = OpenRequest::path("/srv/b", 71).wait(true);
    let (grant, _) = tokio::join!(soon(state.open(wanted)), peer.state(opened(Code::Waiting, 0, 34)));
    let Ok(Grant::Waiting(request)) = grant else { panic!("{grant:?}") };
    let (flags, text) = (GrantFlags { advisory: true }, String::new());
    let granted = OpenGranted { request: 34, code: Code::Ok, flags, open: 501, file: 5, text };
    peer.send(&Message::StateUpcall(StateUpcall::OpenGranted(granted)), 0).await;
    let id = match soon(upcalls.next()).await {
        Some(Notice::State(StateNotice::OpenGranted { cookie: 71, request: told, outcome: Ok(opened) })) => {
            assert_eq!((told, opened.advisory), (request, true));
            opened.open
        }
        other => panic!("{other:?}"),
    };
    let (closed, sent) = tokio::join!(soon(state.close(id)), peer.state(done(Code::Ok)));
    closed.expect("closed");
    assert_eq!(sent, StateRequest::Close(Close { open: 501 }));
}

#[tokio::test]
async fn an_open_that_nobody_hears_of_is_closed() {
    let daemon = Daemon::unix();
    let (_client, state, _upcalls, mut peer) = beginning(&daemon).await;
    let asked = tokio::spawn(async move { state.open(OpenRequest::path("/srv/a", 70)).await });
    let (tag, _) = peer.receive().await;
    asked.abort();
    assert!(asked.await.expect_err("aborted").is_cancelled());
    peer.send(&Message::StateAnswer(opened(Code::Ok, 502, 0)), tag).await;
    let sent = peer.state(done(Code::Ok)).await;
    assert_eq!(sent, StateRequest::Close(Close { open: 502 }));
}
