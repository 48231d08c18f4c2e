//! Broken connections and what the program hears of them.

use std::time::Duration;

use upcall_client::{Client, Code, Error, Notice, Options, ResyncReason, Upcalls, Watch};
use upcall_common::wire::{Known, Message, Registered, Welcome};

use crate::fake::{Daemon, Peer, data, made, options, soon, welcome};

/// A client with three watches, cookies 70 to 72; the daemon's numbers are 500 to 502, the versions 10.
async fn watching(daemon: &Daemon, options: Options) -> (Client, Upcalls, Peer, Vec<u64>) {
    let (client, upcalls, mut peer) = daemon.connect(options, welcome(1)).await;
    let watches = (70..73).map(|cookie| Watch::path("/srv/a", cookie)).collect();
    let (outcomes, _) = tokio::join!(soon(client.register(watches)), peer.grant(500, 10));
    let outcomes = outcomes.expect("answered");
    let interests = outcomes.into_iter().map(|outcome| outcome.expect("made").interest).collect();
    (client, upcalls, peer, interests)
}

/// Breaks the connection, which the program hears.
async fn cut(peer: Peer, upcalls: &mut Upcalls) -> String {
    drop(peer);
    expect_disconnected(upcalls).await
}

/// As [`watching`], after the connection has broken and the client has come back to a daemon that says `welcome`.
async fn come_back(welcome: Welcome) -> (Daemon, Client, Upcalls, Peer, Vec<u64>) {
    let daemon = Daemon::unix();
    let (client, mut upcalls, peer, interests) = watching(&daemon, options()).await;
    cut(peer, &mut upcalls).await;
    let peer = daemon.accept_and_welcome(welcome).await;
    (daemon, client, upcalls, peer, interests)
}

async fn expect_disconnected(upcalls: &mut Upcalls) -> String {
    match soon(upcalls.next()).await {
        Some(Notice::Disconnected { reason }) => reason,
        other => panic!("not Disconnected: {other:?}"),
    }
}

async fn each_inode_is_told(daemon: Daemon) {
    let (_client, mut upcalls, mut peer, interests) = watching(&daemon, options()).await;
    peer.send(&Message::Upcall(vec![data(501, 15)]), 0).await;
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Upcall { cookie: 71, version: 15, .. })));
    cut(peer, &mut upcalls).await;

    let mut peer = daemon.accept_and_welcome(welcome(1)).await;
    let (tag, items) = peer.register().await;
    let asked: Vec<(u64, u64)> = items.iter().map(|item| (item.cookie, item.known_version)).collect();
    assert_eq!(asked, [(70, 10), (71, 15), (72, 10)]);
    let answers = vec![
        made(900, 10, Known::Unchanged),
        made(901, 18, Known::Changed),
        Registered::refused(Code::NotFound),
    ];
    peer.send(&Message::Registered(answers), tag).await;
    let changed = Notice::Changed { cookie: 71, interest: interests[1], version: 18, attrs: None };
    assert_eq!(soon(upcalls.next()).await, Some(changed));
    match soon(upcalls.next()).await {
        Some(Notice::Lost { cookie: 72, interest, error }) => {
            assert_eq!((interest, error.code), (interests[2], Code::NotFound));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));

    // The daemon's numbers are new; the program's interests are not.
    peer.send(&Message::Upcall(vec![data(900, 11)]), 0).await;
    match soon(upcalls.next()).await {
        Some(Notice::Upcall { cookie: 70, interest, version: 11, .. }) => assert_eq!(interest, interests[0]),
        other => panic!("{other:?}"),
    }
    drop(peer);
    let mut peer = daemon.accept_and_welcome(welcome(1)).await;
    let (_, items) = peer.register().await;
    let asked: Vec<(u64, u64)> = items.iter().map(|item| (item.cookie, item.known_version)).collect();
    assert_eq!(asked, [(70, 11), (71, 18)], "what is lost stays lost, and versions are kept");
}

#[tokio::test]
async fn each_inode_is_told_over_unix() {
    each_inode_is_told(Daemon::unix()).await;
}

#[tokio::test]
async fn each_inode_is_told_over_tcp() {
    each_inode_is_told(Daemon::tcp().await).await;
}

#[tokio::test]
async fn a_daemon_that_says_neither_counts_as_changed() {
    let daemon = Daemon::unix();
    let (_client, mut upcalls, peer, _) = watching(&daemon, options()).await;
    cut(peer, &mut upcalls).await;
    daemon.accept_and_welcome(welcome(1)).await.grant(1, 10).await;
    for cookie in 70..73 {
        assert!(
            matches!(soon(upcalls.next()).await, Some(Notice::Changed { cookie: told, .. }) if told == cookie)
        );
    }
}

/// A path that led to another inode for a while, whose versions are lower, leads to the first one again.
#[tokio::test]
async fn a_version_is_not_held_beyond_its_inode() {
    let (daemon, _client, mut upcalls, mut peer, _) = come_back(welcome(1)).await;
    let others = (0..3).map(|number| made(800 + number, 3, Known::Changed)).collect();
    answer(&mut peer, &[10, 10, 10], others).await;
    for _ in 0..3 {
        assert!(matches!(soon(upcalls.next()).await, Some(Notice::Changed { version: 3, .. })));
    }
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(welcome(1)).await;
    answer(&mut peer, &[3, 3, 3], Vec::new()).await;
}

/// A daemon that takes registrations by twos, so that restoring three takes two frames.
fn by_twos(epoch: u64) -> Welcome {
    Welcome { max_batch: 2, ..welcome(epoch) }
}

async fn answer(peer: &mut Peer, known_versions: &[u64], answers: Vec<Registered>) {
    let (tag, items) = peer.register().await;
    let asked: Vec<u64> = items.iter().map(|item| item.known_version).collect();
    assert_eq!(asked, known_versions);
    peer.send(&Message::Registered(answers), tag).await;
}

async fn expect_upcall(upcalls: &mut Upcalls, expected_interest: u64, expected_version: u64) {
    match soon(upcalls.next()).await {
        Some(Notice::Upcall { interest, version, .. }) => {
            assert_eq!((interest, version), (expected_interest, expected_version));
        }
        other => panic!("not an upcall: {other:?}"),
    }
}

async fn expect_resync(upcalls: &mut Upcalls, expected: ResyncReason) {
    match soon(upcalls.next()).await {
        Some(Notice::Resync { reason, .. }) => assert_eq!(reason, expected),
        other => panic!("not Resync: {other:?}"),
    }
}

#[tokio::test]
async fn after_a_new_epoch_all_is_stale_once_every_interest_is_live() {
    let (daemon, _client, mut upcalls, mut peer, interests) = come_back(by_twos(2)).await;
    let known = [made(900, 3, Known::None), made(901, 3, Known::None)];
    answer(&mut peer, &[0, 0], known.to_vec()).await;
    let (tag, items) = peer.register().await;
    assert_eq!(items.iter().map(|item| (item.cookie, item.known_version)).collect::<Vec<_>>(), [(72, 0)]);
    // Cookie 72 is not live yet: whoever read it again now would not hear of what changes next.
    peer.send(&Message::Upcall(vec![data(901, 4)]), 0).await;
    expect_upcall(&mut upcalls, interests[1], 4).await;
    let early = tokio::time::timeout(Duration::from_millis(50), upcalls.next()).await;
    assert!(early.is_err(), "not every interest is live: {early:?}");
    peer.send(&Message::Registered(vec![made(902, 3, Known::None)]), tag).await;
    expect_resync(&mut upcalls, ResyncReason::Epoch).await;
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
    peer.send(&Message::Upcall(vec![data(902, 5)]), 0).await;
    expect_upcall(&mut upcalls, interests[2], 5).await;

    // It has been told: in the same epoch each inode is told again.
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(welcome(2)).await;
    let answers =
        vec![made(1, 3, Known::Unchanged), made(2, 6, Known::Changed), made(3, 5, Known::Unchanged)];
    answer(&mut peer, &[3, 4, 5], answers).await;
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Changed { cookie: 71, version: 6, .. })));
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
}

#[tokio::test]
async fn a_connection_that_breaks_while_all_is_stale_leaves_it_stale() {
    let (daemon, _client, mut upcalls, mut peer, interests) = come_back(by_twos(2)).await;
    answer(&mut peer, &[0, 0], vec![made(900, 3, Known::None), made(901, 3, Known::None)]).await;
    peer.register().await;
    cut(peer, &mut upcalls).await;

    // The same epoch, but the program has not heard of it yet.
    let mut peer = daemon.accept_and_welcome(by_twos(2)).await;
    answer(&mut peer, &[3, 3], vec![made(1, 3, Known::Unchanged), made(2, 7, Known::Changed)]).await;
    answer(&mut peer, &[0], vec![Registered::refused(Code::NotFound)]).await;
    match soon(upcalls.next()).await {
        Some(Notice::Lost { interest, .. }) => assert_eq!(interest, interests[2]),
        other => panic!("not Lost: {other:?}"),
    }
    expect_resync(&mut upcalls, ResyncReason::Epoch).await;
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
}

#[tokio::test]
async fn a_resync_while_restoring_waits_for_every_interest() {
    let (_daemon, _client, mut upcalls, mut peer, interests) = come_back(by_twos(1)).await;
    answer(&mut peer, &[10, 10], vec![made(900, 10, Known::Unchanged), made(901, 10, Known::Unchanged)])
        .await;
    let (tag, _) = peer.register().await;
    let resync = |reason| Message::Resync { reason, text: String::new() };
    peer.send(&resync(ResyncReason::Overrun), 0).await;
    peer.send(&Message::Upcall(vec![data(900, 11)]), 0).await;
    expect_upcall(&mut upcalls, interests[0], 11).await;
    peer.send(&Message::Registered(vec![made(902, 10, Known::Unchanged)]), tag).await;
    expect_resync(&mut upcalls, ResyncReason::Overrun).await;
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
    // Now every interest is live.
    peer.send(&resync(ResyncReason::SourceLost), 0).await;
    expect_resync(&mut upcalls, ResyncReason::SourceLost).await;
}

#[tokio::test]
async fn a_change_of_epoch_while_restoring_outweighs_other_reasons() {
    let (daemon, _client, mut upcalls, mut peer, _) = come_back(by_twos(1)).await;
    peer.register().await;
    peer.send(&Message::Resync { reason: ResyncReason::Shutdown, text: String::new() }, 0).await;
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(welcome(2)).await;
    let answers = (1..4).map(|number| made(number, 3, Known::None)).collect();
    answer(&mut peer, &[0, 0, 0], answers).await;
    expect_resync(&mut upcalls, ResyncReason::Epoch).await;
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
}

#[tokio::test]
async fn times_without_end_are_no_trouble() {
    let daemon = Daemon::unix();
    let patient = Options {
        connect_timeout: Duration::MAX,
        request_timeout: Duration::MAX,
        ping_interval: Some(Duration::MAX),
        backoff_max: Duration::MAX,
        ..options()
    };
    let (_client, mut upcalls, peer, _) = watching(&daemon, patient).await;
    cut(peer, &mut upcalls).await;
    daemon.accept_and_welcome(welcome(2)).await.grant(1, 1).await;
    expect_resync(&mut upcalls, ResyncReason::Epoch).await;
}

#[tokio::test]
async fn a_connection_that_breaks_while_restoring_is_restored_again() {
    let (daemon, _client, mut upcalls, mut peer, _) = come_back(welcome(1)).await;
    peer.register().await;
    cut(peer, &mut upcalls).await;
    let mut peer = daemon.accept_and_welcome(welcome(1)).await;
    let (tag, items) = peer.register().await;
    assert!(items.iter().all(|item| item.known_version == 10));
    let answers = (1..4).map(|number| made(number, 10, Known::Unchanged)).collect();
    peer.send(&Message::Registered(answers), tag).await;
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
}

#[tokio::test]
async fn unregistered_watches_do_not_come_back() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer, interests) = watching(&daemon, options()).await;
    let vanish = async {
        // The connection breaks instead of an answer: the interests have ended all the same.
        peer.receive().await;
        drop(peer);
    };
    let (outcomes, ()) = tokio::join!(soon(client.unregister(interests[..2].to_vec())), vanish);
    assert!(outcomes.expect("done").iter().all(Result::is_ok));
    expect_disconnected(&mut upcalls).await;
    let items = daemon.accept_and_welcome(welcome(1)).await.register().await.1;
    assert_eq!(items.iter().map(|item| item.cookie).collect::<Vec<_>>(), [72]);
}

#[tokio::test]
async fn requests_fail_while_there_is_no_connection() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer, _) = watching(&daemon, options()).await;
    let vanish = async {
        peer.register().await;
        drop(peer);
    };
    let (refused, ()) = tokio::join!(soon(client.register(vec![Watch::path("/srv/b", 80)])), vanish);
    assert!(matches!(refused, Err(Error::Disconnected)), "{refused:?}");
    expect_disconnected(&mut upcalls).await;
    let address = daemon.address();
    drop(daemon);
    assert!(matches!(soon(client.sync()).await, Err(Error::Disconnected)), "nobody listens at {address}");
}

#[tokio::test]
async fn without_reconnect_it_ends() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, peer, _) = watching(&daemon, Options { reconnect: false, ..options() }).await;
    cut(peer, &mut upcalls).await;
    assert_eq!(soon(upcalls.next()).await, None);
    assert!(matches!(soon(client.sync()).await, Err(Error::Stopped)));
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_left() {
    let daemon = Daemon::unix();
    let hurried = Options { request_timeout: Duration::from_millis(50), ..options() };
    let (client, mut upcalls, mut peer) = daemon.connect(hurried, welcome(1)).await;
    assert!(matches!(soon(client.sync()).await, Err(Error::Disconnected)));
    let reason = expect_disconnected(&mut upcalls).await;
    assert!(reason.contains("did not answer"), "{reason}");
    assert!(matches!(peer.receive().await.1, Message::Sync));
    assert_eq!(peer.next().await, None);
}

#[tokio::test]
async fn a_silent_daemon_is_asked_and_left() {
    let daemon = Daemon::unix();
    let ping_interval = Some(Duration::from_millis(20));
    let anxious = Options { ping_interval, request_timeout: Duration::from_secs(1), ..options() };
    let (_client, mut upcalls, mut peer) = daemon.connect(anxious, welcome(1)).await;
    let (tag, message) = peer.receive().await;
    let Message::Ping(payload) = message else { panic!("not PING: {message:?}") };
    peer.send(&Message::Pong(payload), tag).await;
    assert!(matches!(peer.receive().await.1, Message::Ping(_)));
    expect_disconnected(&mut upcalls).await;
}

#[tokio::test]
async fn a_daemon_at_work_is_not_asked() {
    let daemon = Daemon::unix();
    let anxious = Options { ping_interval: Some(Duration::from_millis(20)), ..options() };
    let (client, _upcalls, mut peer) = daemon.connect(anxious, welcome(1)).await;
    let work = async {
        let tag = loop {
            match peer.receive().await {
                (tag, Message::Sync) => break tag,
                (tag, Message::Ping(payload)) => peer.send(&Message::Pong(payload), tag).await,
                other => panic!("{other:?}"),
            }
        };
        // Ten times as long as it would be left in peace otherwise.
        let asked = tokio::time::timeout(Duration::from_millis(200), peer.receive()).await;
        assert!(asked.is_err(), "it owes an answer already: {asked:?}");
        peer.send(&Message::Synced, tag).await;
    };
    let (synced, ()) = tokio::join!(soon(client.sync()), work);
    synced.expect("answered");
}
