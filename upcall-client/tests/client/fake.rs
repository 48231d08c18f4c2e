//! A daemon that does what a test says, frame by frame.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use upcall_client::{Address, Client, Code, Options, Upcalls};
use upcall_common::wire::{
    FEATURE_DESCRIPTORS, FEATURE_NAMES, Known, Message, RegisterItem, Registered, UpcallItem, VERSION,
    Welcome, decode, encode,
};

/// Fails the test when what must happen soon does not happen at all.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("it must happen soon")
}

/// Options with which nothing in a test waits long, but an answer has time to come.
pub(crate) fn options() -> Options {
    let backoff = Duration::from_millis(1);
    Options { backoff_min: backoff, backoff_max: backoff, ..Options::default() }
}

pub(crate) fn welcome(epoch: u64) -> Welcome {
    Welcome {
        version: VERSION,
        max_body: 1 << 20,
        max_batch: 4096,
        features: FEATURE_DESCRIPTORS | FEATURE_NAMES,
        epoch,
        server: String::from("fake"),
    }
}

/// A registration that has succeeded.
pub(crate) fn made(interest: u64, version: u64, known: Known) -> Registered {
    Registered { code: Code::Ok, known, interest, version, attrs: None }
}

/// An upcall with `DATA`.
pub(crate) fn data(interest: u64, version: u64) -> UpcallItem {
    UpcallItem {
        mask: 1,
        cookie: 0,
        interest,
        version,
        attrs: None,
        ended: false,
        names: Vec::new(),
        names_incomplete: false,
    }
}

pub(crate) struct Daemon {
    listener: Listener,
    dir: TempDir,
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Daemon {
    pub(crate) fn unix() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("socket")).expect("a socket");
        Self { listener: Listener::Unix(listener), dir }
    }

    pub(crate) async fn tcp() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        Self { listener: Listener::Tcp(listener), dir: TempDir::new().expect("a temporary directory") }
    }

    pub(crate) fn address(&self) -> Address {
        match &self.listener {
            Listener::Unix(_) => Address::Unix(self.dir.path().join("socket")),
            Listener::Tcp(listener) => {
                let port = listener.local_addr().expect("bound").port();
                Address::Tcp { host: String::from("127.0.0.1"), port }
            }
        }
    }

    pub(crate) async fn accept(&self) -> Peer {
        let stream = soon(async {
            match &self.listener {
                Listener::Unix(listener) => Stream::Unix(listener.accept().await.expect("a client").0),
                Listener::Tcp(listener) => Stream::Tcp(listener.accept().await.expect("a client").0),
            }
        });
        Peer { stream: stream.await, inbox: BytesMut::new(), outbox: BytesMut::new(), files: Vec::new() }
    }

    pub(crate) async fn accept_and_welcome(&self, welcome: Welcome) -> Peer {
        let mut peer = self.accept().await;
        let (tag, hello) = peer.receive().await;
        assert!(matches!(hello, Message::Hello(_)), "{hello:?}");
        peer.send(&Message::Welcome(welcome), tag).await;
        peer
    }

    /// A client and the daemon's end of its connection.
    pub(crate) async fn connect(&self, options: Options, welcome: Welcome) -> (Client, Upcalls, Peer) {
        let address = self.address();
        let (connected, peer) =
            tokio::join!(Client::connect(&address, options), self.accept_and_welcome(welcome));
        let (client, upcalls) = connected.expect("welcomed");
        (client, upcalls, peer)
    }
}

/// The daemon's end of a connection.
pub(crate) struct Peer {
    stream: Stream,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Descriptors that have come. Nobody closes them; the test's process ends soon.
    pub(crate) files: Vec<RawFd>,
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Peer {
    /// The next frame; `None` when the client has closed.
    pub(crate) async fn next(&mut self) -> Option<(u32, Message)> {
        soon(async {
            loop {
                if let Some(frame) = decode(&mut self.inbox).expect("the client keeps to the protocol") {
                    return Some(frame);
                }
                if self.read().await == 0 {
                    return None;
                }
            }
        })
        .await
    }

    pub(crate) async fn receive(&mut self) -> (u32, Message) {
        self.next().await.expect("the client is connected")
    }

    pub(crate) async fn register(&mut self) -> (u32, Vec<RegisterItem>) {
        match self.receive().await {
            (tag, Message::Register(items)) => (tag, items),
            other => panic!("not REGISTER: {other:?}"),
        }
    }

    async fn read(&mut self) -> usize {
        let stream = match &mut self.stream {
            Stream::Tcp(stream) => return stream.read_buf(&mut self.inbox).await.unwrap_or(0),
            Stream::Unix(stream) => stream,
        };
        let mut bytes = [0; 4096];
        let mut space = nix::cmsg_space!([RawFd; 16]);
        let read = stream.async_io(Interest::READABLE, || {
            let mut iov = [IoSliceMut::new(&mut bytes)];
            let message = recvmsg::<UnixAddr>(
                stream.as_raw_fd(),
                &mut iov,
                Some(&mut space),
                MsgFlags::MSG_CMSG_CLOEXEC,
            )?;
            let files: Vec<RawFd> = message
                .cmsgs()?
                .flat_map(|cmsg| match cmsg {
                    ControlMessageOwned::ScmRights(files) => files,
                    _ => Vec::new(),
                })
                .collect();
            Ok((message.bytes, files))
        });
        let (len, files) = read.await.unwrap_or_default();
        self.inbox.extend_from_slice(&bytes[..len]);
        self.files.extend(files);
        len
    }

    pub(crate) async fn send(&mut self, message: &Message, tag: u32) {
        encode(message, tag, &mut self.outbox).expect("it fits a frame");
        soon(self.flush()).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
        soon(self.flush()).await;
    }

    /// Sends `message` unless the client does not read; then what is left goes with the next flush.
    pub(crate) async fn try_send(&mut self, message: &Message, patience: Duration) -> bool {
        encode(message, 0, &mut self.outbox).expect("it fits a frame");
        timeout(patience, self.flush()).await.is_ok()
    }

    pub(crate) async fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match &mut self.stream {
                Stream::Unix(stream) => {
                    stream.write_buf(&mut self.outbox).await.expect("the client is connected")
                }
                Stream::Tcp(stream) => {
                    stream.write_buf(&mut self.outbox).await.expect("the client is connected")
                }
            };
        }
    }

    /// Answers one REGISTER with interests numbered from `first`, at `version`.
    pub(crate) async fn grant(&mut self, first: u64, version: u64) -> Vec<RegisterItem> {
        let (tag, items) = self.register().await;
        let answers = (first..).zip(&items).map(|(number, _)| made(number, version, Known::None)).collect();
        self.send(&Message::Registered(answers), tag).await;
        items
    }
}
