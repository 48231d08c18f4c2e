//! Upcalls on their way to the program.

use std::time::Duration;

use upcall_client::{
    Attrs, Client, Code, EntryKind, EntryName, Error, Names, Notice, Options, ResyncReason, Upcalls, Watch,
};
use upcall_common::change;
use upcall_common::wire::{FEATURE_NAMES, Known, Message, UpcallItem, Welcome};

use crate::fake::{Daemon, Peer, data, made, options, soon, welcome};

async fn watching(daemon: &Daemon, options: Options, cookies: &[u64]) -> (Client, Upcalls, Peer, Vec<u64>) {
    let (client, upcalls, mut peer) = daemon.connect(options, welcome(1)).await;
    let watches = cookies.iter().map(|cookie| Watch::path("/srv/a", *cookie)).collect();
    let (outcomes, _) = tokio::join!(soon(client.register(watches)), peer.grant(500, 10));
    let outcomes = outcomes.expect("answered");
    let interests = outcomes.into_iter().map(|outcome| outcome.expect("made").interest).collect();
    (client, upcalls, peer, interests)
}

async fn a_change_is_told(daemon: Daemon) {
    let (_client, mut upcalls, mut peer, interests) = watching(&daemon, options(), &[70, 71]).await;
    let attrs = Some(Attrs { size: 4096, ..Attrs::default() });
    let second = UpcallItem { attrs, cookie: 71, ..data(501, 12) };
    peer.send(&Message::Upcall(vec![second]), 0).await;
    let expected = Notice::Upcall {
        cookie: 71,
        interest: interests[1],
        mask: change::DATA,
        version: 12,
        attrs,
        ended: false,
        names: Names::default(),
    };
    assert_eq!(soon(upcalls.next()).await, Some(expected));
}

#[tokio::test]
async fn a_change_is_told_over_unix() {
    a_change_is_told(Daemon::unix()).await;
}

#[tokio::test]
async fn a_change_is_told_over_tcp() {
    a_change_is_told(Daemon::tcp().await).await;
}

/// A client that asks for names, of a daemon with these features; and what it is told of entries.
async fn named(features: u64, item: UpcallItem) -> Names {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer) = daemon.connect(options(), Welcome { features, ..welcome(1) }).await;
    let granted = async {
        let (tag, items) = peer.register().await;
        assert!(items[0].names, "the watch asks for names");
        peer.send(&Message::Registered(vec![made(500, 10, Known::None)]), tag).await;
        peer.send(&Message::Upcall(vec![item]), 0).await;
    };
    let watch = Watch::path("/srv", 70).names(true);
    let (outcomes, ()) = tokio::join!(soon(client.register(vec![watch])), granted);
    assert!(outcomes.expect("answered")[0].is_ok());
    match soon(upcalls.next()).await {
        Some(Notice::Upcall { names, .. }) => names,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn names_of_entries_are_told() {
    let entry = EntryName {
        kind: EntryKind::Created,
        directory: false,
        handle_type: 1,
        handle: vec![1, 2, 3],
        name: b"new".to_vec(),
        new_name: None,
    };
    let item = UpcallItem { mask: change::ENTRIES, names: vec![entry.clone()], ..data(500, 11) };
    assert_eq!(named(FEATURE_NAMES, item).await, Names { entries: vec![entry], incomplete: false });
    let item = UpcallItem { mask: change::ENTRIES, names_incomplete: true, ..data(500, 11) };
    assert_eq!(named(FEATURE_NAMES, item).await, Names { entries: vec![], incomplete: true });
}

#[tokio::test]
async fn a_daemon_that_names_nothing_leaves_names_incomplete() {
    let item = UpcallItem { mask: change::ENTRIES, ..data(500, 11) };
    assert_eq!(named(0, item).await, Names { entries: vec![], incomplete: true });
    assert_eq!(named(0, data(500, 11)).await, Names::default());
}

#[tokio::test]
async fn an_ended_interest_is_gone() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer, interests) = watching(&daemon, options(), &[70]).await;
    let last = UpcallItem { mask: change::FORGET, ended: true, ..data(500, 12) };
    peer.send(&Message::Upcall(vec![last, data(500, 13)]), 0).await;
    peer.send(&Message::Resync { reason: ResyncReason::Overrun, text: String::from("too much") }, 0).await;
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Upcall { cookie: 70, ended: true, .. })));
    // What came after the end is not told.
    let resync = Notice::Resync { reason: ResyncReason::Overrun, text: String::from("too much") };
    assert_eq!(soon(upcalls.next()).await, Some(resync));
    let outcomes = soon(client.unregister(interests)).await.expect("needs no daemon");
    assert_eq!(outcomes[0].map_err(|error| error.code), Err(Code::NoInterest));
}

#[tokio::test]
async fn sync_returns_after_the_upcalls_before_it() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer, _) = watching(&daemon, options(), &[70]).await;
    let answer = async {
        let (tag, message) = peer.receive().await;
        assert_eq!(message, Message::Sync);
        peer.send(&Message::Upcall(vec![data(500, 11)]), 0).await;
        peer.send(&Message::Synced, tag).await;
    };
    let (synced, ()) = tokio::join!(soon(client.sync()), answer);
    synced.expect("answered");
    let told = tokio::time::timeout(Duration::ZERO, upcalls.next()).await;
    assert!(matches!(told, Ok(Some(Notice::Upcall { version: 11, .. }))), "{told:?}");
}

#[tokio::test]
async fn a_program_that_does_not_read_stops_the_daemon_and_loses_nothing() {
    let daemon = Daemon::unix();
    let request_timeout = Duration::from_secs(1);
    let slow = Options { notice_capacity: 4, request_timeout, ..options() };
    let (client, mut upcalls, mut peer, _) = watching(&daemon, slow, &[70]).await;
    let mut sent = 0;
    let mut bytes = 0;
    let stopped = loop {
        sent += 1;
        bytes += 48;
        if !peer.try_send(&Message::Upcall(vec![data(500, 10 + sent)]), Duration::from_millis(300)).await {
            break true;
        }
        if bytes > 64 << 20 {
            break false;
        }
    };
    assert!(stopped, "the client read {bytes} bytes that nobody wanted");
    assert!(matches!(soon(client.ping()).await, Err(Error::NotReading)));
    let read = async {
        for version in 11..=10 + sent {
            match soon(upcalls.next()).await {
                Some(Notice::Upcall { version: told, .. }) => assert_eq!(told, version),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(read, soon(peer.flush()));
    // The same connection goes on.
    let answer = async {
        loop {
            if let (tag, Message::Ping(bytes)) = peer.receive().await {
                peer.send(&Message::Pong(bytes), tag).await;
            }
        }
    };
    tokio::select! {
        answered = soon(client.ping()) => assert!(answered.is_ok(), "{answered:?}"),
        () = answer => {}
    }
}

#[tokio::test]
async fn without_a_reader_requests_still_work() {
    let daemon = Daemon::unix();
    let small = Options { notice_capacity: 1, ..options() };
    let (client, upcalls, mut peer, _) = watching(&daemon, small, &[70]).await;
    drop(upcalls);
    for version in 11..20 {
        peer.send(&Message::Upcall(vec![data(500, version)]), 0).await;
    }
    let answer = async {
        let (tag, _) = peer.receive().await;
        peer.send(&Message::Synced, tag).await;
    };
    let (synced, ()) = tokio::join!(soon(client.sync()), answer);
    synced.expect("answered");
}

#[tokio::test]
async fn dropping_everything_closes_the_connection() {
    let daemon = Daemon::unix();
    let (client, upcalls, mut peer, _) = watching(&daemon, options(), &[70]).await;
    drop(client.clone());
    drop(client);
    peer.send(&Message::Ping("x".into()), 3).await;
    assert_eq!(peer.receive().await, (3, Message::Pong("x".into())));
    drop(upcalls);
    assert_eq!(peer.next().await, None);
}
