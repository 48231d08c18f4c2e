//! A daemon that breaks the rules, or knows newer ones.

use bytes::{Bytes, BytesMut};
use upcall_client::{Client, Notice, Upcalls, Watch};
use upcall_common::wire::{Message, encode};

use crate::fake::{Daemon, Peer, data, options, soon, welcome};

async fn watching(daemon: &Daemon) -> (Client, Upcalls, Peer) {
    let (client, upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let (outcomes, _) =
        tokio::join!(soon(client.register(vec![Watch::path("/srv/a", 70)])), peer.grant(500, 10));
    assert!(outcomes.expect("answered").iter().all(Result::is_ok));
    (client, upcalls, peer)
}

/// What `bytes` lead to: the reason of the disconnection, after which the client connects again.
async fn reason_after(bytes: &[u8]) -> String {
    let daemon = Daemon::unix();
    let (_client, mut upcalls, mut peer) = watching(&daemon).await;
    peer.send_raw(bytes).await;
    drop(peer);
    let Some(Notice::Disconnected { reason }) = soon(upcalls.next()).await else {
        panic!("not Disconnected")
    };
    daemon.accept_and_welcome(welcome(1)).await.grant(1, 10).await;
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Changed { cookie: 70, .. })));
    assert_eq!(soon(upcalls.next()).await, Some(Notice::Reconnected));
    reason
}

fn frame(message: &Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(message, 0, &mut bytes).expect("it fits a frame");
    bytes
}

#[tokio::test]
async fn a_close_within_a_frame_is_a_close() {
    let upcall = frame(&Message::Upcall(vec![data(500, 11)]));
    assert!(reason_after(&upcall[..upcall.len() - 1]).await.contains("closed"));
    assert!(reason_after(&upcall[..5]).await.contains("closed"));
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    assert!(reason_after(&[0xff; 64]).await.contains("broke the protocol"));
    // An UPCALL that announces an item and has none.
    let empty = [4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    assert!(reason_after(&empty).await.contains("broke the protocol"));
}

#[tokio::test]
async fn an_error_without_a_request_is_the_reason() {
    let error =
        Message::Error { code: upcall_client::Code::TimedOut, message: String::from("you do not read") };
    assert!(reason_after(&frame(&error)).await.contains("you do not read"));
}

#[tokio::test]
async fn unknown_frames_are_skipped() {
    let daemon = Daemon::unix();
    let (_client, mut upcalls, mut peer) = watching(&daemon).await;
    peer.send(&Message::Unknown { kind: 999, body: Bytes::from_static(&[7; 100]) }, 0).await;
    peer.send(&Message::Unknown { kind: 998, body: Bytes::new() }, 55).await;
    // An answer that nobody waits for is of no interest either.
    peer.send(&Message::Synced, 4242).await;
    peer.send(&Message::Upcall(vec![data(500, 11)]), 0).await;
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Upcall { cookie: 70, version: 11, .. })));
}

#[tokio::test]
async fn an_answer_to_another_question_ends_the_connection() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer) = watching(&daemon).await;
    let lie = async {
        let (tag, _) = peer.receive().await;
        peer.send(&Message::Registered(Vec::new()), tag).await;
    };
    let (answered, ()) = tokio::join!(soon(client.sync()), lie);
    assert!(answered.is_err());
    let Some(Notice::Disconnected { reason }) = soon(upcalls.next()).await else {
        panic!("not Disconnected")
    };
    assert!(reason.contains("another type"), "{reason}");
}

#[tokio::test]
async fn an_answer_with_items_missing_ends_the_connection() {
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer) = watching(&daemon).await;
    let lie = async {
        let (tag, _) = peer.register().await;
        peer.send(&Message::Registered(Vec::new()), tag).await;
    };
    let (answered, ()) = tokio::join!(soon(client.register(vec![Watch::path("/srv/b", 71)])), lie);
    assert!(answered.is_err());
    let Some(Notice::Disconnected { reason }) = soon(upcalls.next()).await else {
        panic!("not Disconnected")
    };
    assert!(reason.contains("number of items"), "{reason}");
}
