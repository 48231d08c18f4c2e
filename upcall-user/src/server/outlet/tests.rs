use std::{fs::File, io::Read, os::fd::AsFd, os::unix::net::UnixStream, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::timeout};
use upcall_common::{
    abi::Word,
    change::{ANY, DATA},
    wire::{self, Message},
};

use super::*;
use crate::hub::{ClientInfo, Limits, Pace, Wish, model::Model};

const OTHER_PROCESS: u32 = 4000;

fn pair() -> (UnixStream, Outlet) {
    let (here, there) = UnixStream::pair().expect("sockets");
    for socket in [&here, &there] {
        socket.set_nonblocking(true).expect("socket");
    }
    (here, Outlet::new(Arc::new(Stream::new(there.into()).expect("watched"))))
}

/// A client with one interest, and how it is woken.
struct Bench {
    model: Model,
    hub: Hub,
    client: ClientIndex,
    woken: Arc<Notify>,
    outlets: Outlets,
    outlet: Arc<Outlet>,
    peer: UnixStream,
}

impl Bench {
    fn new() -> Self {
        let (model, slots) = Model::new(1, false);
        let pace = Pace { tick: 4, volatile: None, grace: Duration::ZERO };
        let limits = Limits { clients: 1, interests_per_client: 1 };
        let hub = Hub::new(Box::new(model.clone()), slots, pace, limits);
        let info = ClientInfo { name: "test".into(), address: "unix".into(), uid: 0, pid: 0 };
        let (client, woken) = hub.connect(info, None).expect("room");
        let file = File::open("/dev/null").expect("file");
        let file = file.as_fd();
        model.add_inode(file, 1);
        let wish = Wish { cookie: 10, mask: ANY, include_own: false };
        hub.register_one(client, file, wish, None, 0).expect("watched");
        let (peer, outlet) = pair();
        let (outlets, outlet) = (Outlets::default(), Arc::new(outlet));
        outlets.insert(client, Arc::clone(&outlet));
        Self { model, hub, client, woken, outlets, outlet, peer }
    }

    async fn change(&self) {
        self.model.mark(1, Word::of_process(DATA, OTHER_PROCESS));
        let woken = self.hub.take(self.model.take_dirty());
        self.outlets.deliver(&self.hub, &woken).await;
    }

    async fn is_woken(&self) -> bool {
        timeout(Duration::ZERO, self.woken.notified()).await.is_ok()
    }

    /// Cookies of the upcalls that have come.
    fn told(&mut self) -> Vec<u64> {
        let mut chunk = [0; 4096];
        let length = match self.peer.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Vec::new(),
            read => read.expect("read"),
        };
        let mut bytes = BytesMut::from(&chunk[..length]);
        let mut cookies = Vec::new();
        while let Some((_, message)) = wire::decode(&mut bytes).expect("a frame") {
            let Message::Upcall(items) = message else { panic!("{message:?}") };
            cookies.extend(items.iter().map(|item| item.cookie));
        }
        cookies
    }
}

#[tokio::test]
async fn a_client_that_is_being_answered_is_left_to_its_session() {
    let mut bench = Bench::new();
    bench.change().await;
    assert!(bench.told().is_empty());
    assert!(bench.is_woken().await);
    assert!(bench.outlet.send_upcalls(&bench.hub, bench.client, u64::MAX).expect("sent"));
    assert_eq!(bench.told(), [10]);
    assert!(bench.outlet.open());
    bench.change().await;
    assert_eq!(bench.told(), [10]);
    assert!(!bench.is_woken().await, "nothing is left for it");
}

#[tokio::test]
async fn a_client_without_room_is_left_to_its_session() {
    let mut bench = Bench::new();
    assert!(bench.outlet.open());
    while bench.outlet.write(BytesMut::zeroed(4096)).expect("written") {}
    bench.change().await;
    assert!(bench.is_woken().await);
    let mut chunk = vec![0; 1 << 20];
    while !bench.outlet.flush().expect("flushed") {
        assert!(bench.peer.read(&mut chunk).expect("read") > 0);
    }
    while bench.peer.read(&mut chunk).is_ok() {}
    assert!(bench.outlet.send_upcalls(&bench.hub, bench.client, u64::MAX).expect("sent"));
    assert_eq!(bench.told(), [10]);
}

#[tokio::test]
async fn what_finds_no_room_keeps_its_place() {
    let (mut peer, outlet) = pair();
    let frame = |number: u8| BytesMut::from(&[number; 4000][..]);
    let mut numbers = (0..=u8::MAX).cycle();
    let mut written = Vec::new();
    loop {
        let number = numbers.next().expect("endless");
        written.push(number);
        if !outlet.write(frame(number)).expect("written") {
            break;
        }
    }
    for number in numbers.take(3) {
        written.push(number);
        assert!(!outlet.write(frame(number)).expect("kept"));
    }
    let (mut read, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    while read.len() < written.len() * 4000 {
        let length = peer.read(&mut chunk).expect("read");
        read.extend_from_slice(&chunk[..length]);
        outlet.flush().expect("flushed");
    }
    let expected: Vec<u8> = written.into_iter().flat_map(|number| [number; 4000]).collect();
    assert!(read == expected, "frames are whole and in order");
}

#[tokio::test]
async fn a_peer_that_is_gone_is_found_out_by_the_session() {
    let bench = Bench::new();
    assert!(bench.outlet.open());
    bench.peer.shutdown(std::net::Shutdown::Both).expect("shut down");
    bench.change().await;
    assert!(bench.is_woken().await);
    assert!(bench.outlet.flush().is_err());
}
