use std::{
    fs::File,
    os::fd::AsFd,
    sync::{Mutex, mpsc},
    time::Duration,
};

use tokio::time::timeout;
use upcall_common::{
    change::{ANY, RESCAN},
    wire::{self, MAX_BODY, Message},
};

use super::*;
use crate::hub::{ClientInfo, Limits, Pace, Scope, Wish, model::Model};

const LONG: Duration = Duration::from_secs(60);

fn told(path: &[u8]) -> Told {
    Told {
        interest: 1,
        cookie: 2,
        changes: 4,
        version: 5,
        attrs: None,
        gone: false,
        appeared: true,
        directory: true,
        links: true,
        ino: 6,
        handle: None,
        path: path.to_vec(),
        old_path: None,
    }
}

/// A client that is interested in what lies below a directory, in which some child has changed.
fn bench(resolve: Resolve) -> (Arc<Hub>, Children, u64) {
    let (model, slots) = Model::new(1, false);
    let pace = Pace { tick: 4, volatile: None, grace: Duration::ZERO };
    let hub = Hub::new(Box::new(model.clone()), slots, pace, Limits { clients: 1, interests_per_client: 1 });
    let info = ClientInfo { name: "test".into(), address: "unix".into(), uid: 0, pid: 0 };
    let (client, _) = hub.connect(info, None).expect("room");
    let file = File::open("/").expect("a directory");
    model.add_inode(file.as_fd(), 1);
    model.become_directory(1);
    let wish = Wish { cookie: 10, mask: ANY, include_own: false, scope: Scope::Subtree };
    let interest = hub.register_one(client, file.as_fd(), wish, None, 0).expect("watched").interest;
    model.change_below(&hub, 20, "file");
    let hub = Arc::new(hub);
    (Arc::clone(&hub), Children::new(hub, client, resolve), interest)
}

fn items(mut frames: BytesMut) -> Vec<UpcallItem> {
    let mut items = Vec::new();
    while let Some((_, message)) = wire::decode(&mut frames).expect("a frame") {
        let Message::Upcall(more) = message else { panic!("{message:?}") };
        items.extend(more);
    }
    items
}

#[test]
fn more_than_a_frame_may_have_goes_in_several() {
    let path = [b'x'; 4000];
    let all: Vec<Told> = (0..2 * MAX_BODY as usize / path.len()).map(|_| told(&path)).collect();
    let (frames, whole) = frames(all.clone());
    assert!(whole && frames.len() > MAX_BODY as usize);
    assert_eq!(items(frames), all.into_iter().map(item).collect::<Vec<_>>());
    assert!(super::frames(Vec::new()).0.is_empty());
}

#[tokio::test]
async fn a_batch_is_under_way_until_it_has_been_looked_for() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let (_hub, mut children, interest) = bench(Arc::new(move |children, _| {
        wait.lock().expect("alone").recv().expect("told to go on");
        let told = children.iter().map(|child| Told { interest: child.interest, ..told(&child.path) });
        Batch { told: told.collect(), lost: Vec::new() }
    }));
    assert!(!children.start(0), "it is not its turn");
    assert!(children.start(u64::MAX) && !children.is_finished());
    assert!(children.start(0), "it has begun");
    // Whoever stops waiting loses nothing.
    assert!(timeout(Duration::ZERO, children.finished()).await.is_err());
    go.send(()).expect("somebody waits");
    let told = items(timeout(LONG, children.finished()).await.expect("found"));
    assert_eq!(told.iter().map(|item| item.interest).collect::<Vec<_>>(), [interest]);
    assert_eq!(told[0].child.as_ref().map(|child| &*child.path), Some(&b"file"[..]));
    assert!(!children.start(u64::MAX), "nothing waits");
}

#[tokio::test]
async fn what_cannot_be_found_is_to_be_looked_for_by_the_client() {
    let lost: Resolve = Arc::new(|children, _| Batch {
        told: Vec::new(),
        lost: children.iter().map(|child| child.interest).collect(),
    });
    let failed: Resolve = Arc::new(|_, _| panic!("as it happens"));
    for resolve in [lost, failed] {
        let (hub, mut children, interest) = bench(resolve);
        assert!(children.start(u64::MAX));
        assert!(timeout(LONG, children.finished()).await.expect("over").is_empty());
        let told = hub.take_upcalls(children.client, 10, u64::MAX);
        assert_eq!(told.iter().map(|it| (it.interest, it.changes)).collect::<Vec<_>>(), [(interest, RESCAN)]);
    }
}
