//! Descriptors passed to the daemon.

use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;
use upcall_client::{Code, Notice, Watch};
use upcall_common::wire::{Target, Welcome};

use crate::fake::{Daemon, Peer, options, soon, welcome};

fn inode_of(file: RawFd) -> u64 {
    fs::metadata(format!("/proc/self/fd/{file}")).expect("an open descriptor").ino()
}

/// Checks that the next REGISTER names the files of `inodes` in order, and grants it.
async fn expect_files(peer: &mut Peer, inodes: &[u64], first: u64) {
    let items = peer.grant(first, 10).await;
    let passed: Vec<RawFd> = peer.files.drain(..).collect();
    let named: Vec<u64> = items
        .iter()
        .map(|item| match item.target {
            Target::Descriptor(place) => inode_of(passed[usize::from(place)]),
            _ => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(named, inodes);
    assert_eq!(passed.len(), inodes.len());
}

#[tokio::test]
async fn the_daemon_gets_the_very_files_at_most_sixteen_a_frame() {
    let dir = TempDir::new().expect("a temporary directory");
    let files: Vec<File> = (0..20)
        .map(|number| File::create_new(dir.path().join(number.to_string())).expect("a file"))
        .collect();
    let inodes: Vec<u64> = files.iter().map(|file| file.metadata().expect("an open file").ino()).collect();
    let daemon = Daemon::unix();
    let (client, mut upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let watches = files.into_iter().zip(0..).map(|(file, cookie)| Watch::descriptor(file, cookie)).collect();
    let serve = async {
        expect_files(&mut peer, &inodes[..16], 1).await;
        expect_files(&mut peer, &inodes[16..], 17).await;
    };
    let (outcomes, ()) = tokio::join!(soon(client.register(watches)), serve);
    assert!(outcomes.expect("answered").iter().all(Result::is_ok));

    // They are passed again after a reconnection, although the program has no hold of them any more.
    drop(peer);
    assert!(matches!(soon(upcalls.next()).await, Some(Notice::Disconnected { .. })));
    let mut peer = daemon.accept_and_welcome(welcome(1)).await;
    expect_files(&mut peer, &inodes[..16], 1).await;
    expect_files(&mut peer, &inodes[16..], 17).await;
}

async fn refused(daemon: Daemon, welcome: Welcome) {
    let (client, _upcalls, mut peer) = daemon.connect(options(), welcome).await;
    let watches =
        vec![Watch::descriptor(File::open("/dev/null").expect("always there"), 1), Watch::path("/srv/a", 2)];
    let (outcomes, items) = tokio::join!(soon(client.register(watches)), peer.grant(1, 10));
    assert_eq!(items.len(), 1, "the path goes to the daemon, the descriptor does not");
    let outcomes = outcomes.expect("answered");
    assert_eq!(outcomes[0].map_err(|error| error.code), Err(Code::BadTarget));
    assert!(outcomes[1].is_ok());
}

#[tokio::test]
async fn tcp_passes_no_descriptors() {
    refused(Daemon::tcp().await, welcome(1)).await;
}

#[tokio::test]
async fn a_daemon_without_the_feature_gets_no_descriptors() {
    refused(Daemon::unix(), Welcome { features: 0, ..welcome(1) }).await;
}

#[tokio::test]
async fn a_frame_written_in_parts_passes_its_files_once() {
    let daemon = Daemon::unix();
    let (client, _upcalls, mut peer) = daemon.connect(options(), welcome(1)).await;
    let long = (0..200).map(|cookie| Watch::path(format!("/{}", "x".repeat(4000)), cookie));
    let file = Watch::descriptor(File::open("/dev/null").expect("always there"), 999);
    let watches = long.chain([file]).collect();
    let (outcomes, items) = tokio::join!(soon(client.register(watches)), peer.grant(1, 10));
    assert!(outcomes.expect("answered").iter().all(Result::is_ok));
    assert_eq!((items.len(), peer.files.len()), (201, 1));
}
