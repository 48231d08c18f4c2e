//! Requests and their answers.

use std::time::Duration;

use upcall_client::{Client, Code, Error, Watch};
use upcall_common::wire::{Known, Message, Registered, RenewItem, Target, Welcome};

use crate::fake::{Daemon, data, made, options, soon, welcome};

fn watches(cookies: impl Iterator<Item = u64>) -> Vec<Watch> {
    cookies.map(|cookie| Watch::path(format!("/srv/{cookie}"), cookie)).collect()
}

#[tokio::test]
async fn a_watch_says_what_it_wants() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let lifetime = Duration::from_millis(1500);
    let by_path = Watch::path("/srv/a", 1).mask(3).include_own(true).lifetime(lifetime);
    let by_handle = Watch::handle("/srv", -7, vec![1, 2, 3], 2);
    let (outcomes, items) = tokio::join!(soon(client.register(vec![by_path, by_handle])), peer.grant(1, 5));
    assert_eq!(outcomes.expect("answered").len(), 2);
    assert_eq!((items[0].cookie, items[0].mask, items[0].include_own), (1, 3, true));
    assert_eq!((items[0].lifetime_ms, items[0].known_version), (1500, 0));
    assert_eq!(items[0].target, Target::Path(b"/srv/a".to_vec()));
    let handle = Target::Handle { anchor: b"/srv".to_vec(), handle_type: -7, handle: vec![1, 2, 3] };
    assert_eq!((items[1].cookie, &items[1].target), (2, &handle));
}

#[tokio::test]
async fn a_large_request_is_split_and_its_outcomes_stay_in_order() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) =
        daemon.connect(options(), Welcome { max_batch: 3, ..welcome(1) }).await;
    let answer = async {
        let mut sizes = Vec::new();
        for _ in 0..3 {
            let (tag, items) = peer.register().await;
            sizes.push(items.len());
            let outcome = |cookie| match cookie {
                4 => Registered::refused(Code::NotFound),
                cookie => made(100 + cookie, 1000 + cookie, Known::None),
            };
            peer.send(&Message::Registered(items.iter().map(|item| outcome(item.cookie)).collect()), tag)
                .await;
        }
        sizes
    };
    let (outcomes, sizes) = tokio::join!(soon(client.register(watches(0..8))), answer);
    assert_eq!(sizes, [3, 3, 2]);
    let versions: Vec<Result<u64, Code>> = outcomes
        .expect("answered")
        .into_iter()
        .map(|outcome| outcome.map(|made| made.version).map_err(|error| error.code))
        .collect();
    let expected = (0..8).map(|cookie| if cookie == 4 { Err(Code::NotFound) } else { Ok(1000 + cookie) });
    assert!(expected.eq(versions.iter().copied()), "{versions:?}");
}

#[tokio::test]
async fn a_request_too_long_for_a_body_is_split() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) =
        daemon.connect(options(), Welcome { max_body: 10_000, ..welcome(1) }).await;
    let long = |cookie| Watch::path(format!("/{}", "x".repeat(4000)), cookie);
    let answer = async { [peer.grant(1, 1).await.len(), peer.grant(3, 1).await.len()] };
    let watches = vec![long(0), long(1), long(2), Watch::path("/".repeat(5000), 3)];
    let (outcomes, sizes) = tokio::join!(soon(client.register(watches)), answer);
    assert_eq!(sizes, [2, 1]);
    let last = outcomes.expect("answered").pop().expect("four outcomes");
    assert_eq!(last.expect_err("longer than any path").code, Code::BadName);
}

#[tokio::test]
async fn unregister_and_renew_speak_of_the_daemons_numbers() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) =
        daemon.connect(options(), Welcome { max_batch: 2, ..welcome(1) }).await;
    let answer = async { (peer.grant(900, 1).await, peer.grant(902, 1).await) };
    let (outcomes, _) = tokio::join!(soon(client.register(watches(0..3))), answer);
    let interests: Vec<u64> =
        outcomes.expect("answered").into_iter().map(|outcome| outcome.expect("made").interest).collect();

    let lifetimes = vec![(interests[0], None), (12345, None), (interests[2], Some(Duration::from_millis(7)))];
    let answer = async {
        let (tag, message) = peer.receive().await;
        let items = [(900, 0), (902, 7)].map(|(interest, lifetime_ms)| RenewItem { interest, lifetime_ms });
        assert_eq!(message, Message::Renew(items.to_vec()));
        peer.send(&Message::Renewed(vec![Code::Ok, Code::NoInterest]), tag).await;
    };
    let (outcomes, ()) = tokio::join!(soon(client.renew(lifetimes)), answer);
    let codes = |outcomes: Vec<Result<(), upcall_client::ItemError>>| -> Vec<Code> {
        outcomes.into_iter().map(|outcome| outcome.err().map_or(Code::Ok, |error| error.code)).collect()
    };
    assert_eq!(codes(outcomes.expect("answered")), [Code::Ok, Code::NoInterest, Code::NoInterest]);

    let answer = async {
        for expected in [vec![900, 901], vec![902]] {
            let (tag, message) = peer.receive().await;
            assert_eq!(message, Message::Unregister(expected.clone()));
            peer.send(&Message::Unregistered(vec![Code::Ok; expected.len()]), tag).await;
        }
    };
    let all = [interests, vec![54321]].concat();
    let (outcomes, ()) = tokio::join!(soon(client.unregister(all)), answer);
    assert_eq!(codes(outcomes.expect("answered")), [Code::Ok, Code::Ok, Code::Ok, Code::NoInterest]);
}

#[tokio::test]
async fn interests_that_nobody_waited_for_are_ended() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let (tag, items) = tokio::select! {
        request = peer.register() => request,
        outcome = client.register(watches(0..2)) => panic!("nobody answered: {outcome:?}"),
    };
    assert_eq!(items.len(), 2);
    let answers = vec![made(600, 1, Known::None), made(601, 1, Known::None)];
    peer.send(&Message::Registered(answers), tag).await;
    peer.send(&Message::Upcall(vec![data(600, 2)]), 0).await;
    let (tag, message) = peer.receive().await;
    assert_eq!(message, Message::Unregister(vec![600, 601]));
    peer.send(&Message::Unregistered(vec![Code::Ok; 2]), tag).await;
    let answer = async {
        let (tag, _) = peer.receive().await;
        peer.send(&Message::Synced, tag).await;
    };
    let (synced, ()) = tokio::join!(soon(client.sync()), answer);
    synced.expect("answered");
    let told = tokio::time::timeout(Duration::ZERO, upcalls.next()).await;
    assert!(told.is_err(), "nobody knows this interest: {told:?}");
}

#[tokio::test]
async fn status_is_passed_on_and_a_refusal_fails_that_request_alone() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let answer = async {
        let (tag, message) = peer.receive().await;
        assert_eq!(message, Message::Status);
        let refusal = Message::Error { code: Code::NotPermitted, message: String::from("no operator") };
        peer.send(&refusal, tag).await;
        let (tag, _) = peer.receive().await;
        peer.send(&Message::StatusReply(String::from("{}")), tag).await;
    };
    let ask = async { (client.status().await, client.status().await) };
    let ((refused, answered), ()) = tokio::join!(soon(ask), answer);
    assert!(matches!(refused, Err(Error::Refused { code: Code::NotPermitted, .. })), "{refused:?}");
    assert_eq!(answered.expect("answered"), "{}");
}

#[tokio::test]
async fn events_use_a_connection_of_their_own() {
    let daemon = Daemon::unix();
    let (client, _upcalls, _peer) = daemon.connect(options(), welcome(1)).await;
    let (events, mut peer) =
        tokio::join!(soon(client.events(r#"{"pid":1}"#)), daemon.accept_and_welcome(welcome(1)));
    let mut events = events.expect("welcomed");
    let serve = async {
        let (tag, message) = peer.receive().await;
        assert_eq!(message, Message::Events(String::from(r#"{"pid":1}"#)));
        peer.send(&Message::Event(String::from("1")), tag).await;
        peer.send(&Message::Ping("x".into()), 4).await;
        peer.send(&Message::Event(String::from("2")), tag).await;
        assert_eq!(peer.receive().await, (4, Message::Pong("x".into())));
        peer.send(&Message::Error { code: Code::Internal, message: String::from("over") }, tag).await;
    };
    let read = async {
        assert_eq!(events.next().await.and_then(Result::ok).as_deref(), Some("1"));
        assert_eq!(events.next().await.and_then(Result::ok).as_deref(), Some("2"));
        assert!(matches!(events.next().await, Some(Err(Error::Refused { code: Code::Internal, .. }))));
        assert!(events.next().await.is_none());
    };
    tokio::join!(soon(read), serve);
}

#[tokio::test]
async fn a_failed_connection_says_why() {
    let nowhere = "unix:/nonexistent/socket".parse().expect("an address");
    let error = Client::connect(&nowhere, options()).await.map(|_| ()).expect_err("nobody listens");
    assert!(error.to_string().contains("unix:/nonexistent/socket"), "{error}");

    let daemon = Daemon::unix();
    let refuse = async {
        let mut peer = daemon.accept().await;
        let error = Message::Error { code: Code::TooManyClients, message: String::from("full") };
        peer.send(&error, 0).await;
    };
    let address = daemon.address();
    let (refused, ()) = tokio::join!(soon(Client::connect(&address, options())), refuse);
    let error = refused.map(|_| ()).expect_err("full");
    assert!(matches!(error, Error::Refused { code: Code::TooManyClients, .. }), "{error}");

    let other = async { daemon.accept_and_welcome(Welcome { version: 9, ..welcome(1) }).await };
    let (refused, _peer) = tokio::join!(soon(Client::connect(&address, options())), other);
    assert!(matches!(refused, Err(Error::Protocol(_))));

    let hurried = upcall_client::Options { connect_timeout: Duration::from_millis(50), ..options() };
    let (refused, _peer) = tokio::join!(soon(Client::connect(&address, hurried)), daemon.accept());
    assert!(matches!(refused, Err(Error::TimedOut(_))));
}
