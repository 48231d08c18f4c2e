//! A connection's bytes: the same over Unix and TCP, but that a Unix socket carries descriptors too.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use tokio::time::timeout;

use super::{outlet::Outlet, stream::Stream};
use crate::{
    hub::{ClientIndex, Hub},
    sys::socket,
};

const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Transport {
    stream: Arc<Stream>,
    pub(super) outlet: Arc<Outlet>,
    pub(super) inbox: BytesMut,
    /// Bytes received so far.
    received: u64,
    /// Descriptors that no request has claimed yet, each with how much had been received when it had come.
    descriptors: VecDeque<(u64, OwnedFd)>,
    /// Longest time that a write may make no progress.
    stall: Duration,
}

impl Transport {
    pub(super) fn new(stream: Stream, stall: Duration) -> Self {
        let stream = Arc::new(stream);
        let outlet = Arc::new(Outlet::new(Arc::clone(&stream)));
        Self { stream, outlet, inbox: BytesMut::new(), received: 0, descriptors: VecDeque::new(), stall }
    }

    /// Waits for bytes and appends them to the inbox; 0 at the end. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        self.inbox.reserve(CHUNK);
        let count = loop {
            let mut ready = self.stream.readable().await?;
            let mut buffer = [0; 16 * 1024];
            let mut passed = Vec::new();
            let received =
                ready.try_io(|socket| socket::receive(socket.get_ref().as_fd(), &mut buffer, &mut passed));
            let Ok(received) = received else { continue };
            let end = self.received + *received.as_ref().unwrap_or(&0) as u64;
            let too_many = passed.len() > socket::MAX_DESCRIPTORS;
            self.descriptors.extend(passed.into_iter().map(|descriptor| (end, descriptor)));
            // Those of the frame that the inbox begins with, and of the next one.
            if too_many || self.descriptors.len() > 2 * socket::MAX_DESCRIPTORS {
                return Err(surplus());
            }
            let count = received?;
            self.inbox.put_slice(buffer.get(..count).unwrap_or_default());
            break count;
        };
        self.received += count as u64;
        Ok(count)
    }

    /// More may be taken in although a request is not answered: little enough, and no more descriptors than there is room
    /// for with those of the next read.
    pub(super) fn may_read_ahead(&self) -> bool {
        self.inbox.len() < CHUNK && self.descriptors.len() <= socket::MAX_DESCRIPTORS
    }

    /// The descriptors that came with the request just decoded, as many as it speaks of.
    pub(super) fn claim(&mut self, count: usize) -> Vec<OwnedFd> {
        let count = count.min(self.descriptors.len());
        self.descriptors.drain(..count).map(|(_, descriptor)| descriptor).collect()
    }

    /// Refuses descriptors that came with an earlier frame than the one that the inbox begins with: whatever
    /// they were meant for, taking them for this frame's would watch the wrong files.
    pub(super) fn refuse_surplus(&self) -> io::Result<()> {
        let frame = self.received - self.inbox.len() as u64;
        if self.descriptors.front().is_none_or(|(end, _)| *end > frame) { Ok(()) } else { Err(surplus()) }
    }

    /// Closes descriptors that nobody has claimed. Closing may wait for whoever serves the file.
    pub(super) async fn close_descriptors(&mut self) {
        close(std::mem::take(&mut self.descriptors).into()).await;
    }

    /// Writes everything. A peer that takes nothing for too long gets `TimedOut`.
    pub(super) async fn write(&self, frame: BytesMut) -> io::Result<()> {
        if self.outlet.write(frame)? { Ok(()) } else { self.finish().await }
    }

    /// Sends one frame of the upcalls that wait, up to the turn `last`; whether there was anything.
    pub(super) async fn send_upcalls(&self, hub: &Hub, client: ClientIndex, last: u64) -> io::Result<bool> {
        // First what others have left.
        self.finish().await?;
        let sent = self.outlet.send_upcalls(hub, client, last)?;
        self.finish().await?;
        Ok(sent)
    }

    /// Writes what the session was told while it was busy.
    pub(super) async fn send_told(&self) -> io::Result<()> {
        match self.outlet.take_told() {
            told if told.is_empty() => Ok(()),
            told => self.write(told).await,
        }
    }

    /// Writes what the socket has had no room for.
    async fn finish(&self) -> io::Result<()> {
        while !self.outlet.flush()? {
            self.wait_for_room().await?;
        }
        Ok(())
    }

    async fn wait_for_room(&self) -> io::Result<()> {
        timeout(self.stall, self.stream.room()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}

fn surplus() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "descriptors came that the frame they came with does not speak of",
    )
}

/// Closes passed descriptors where it may take for ever: a file of a FUSE filesystem asks its server first.
pub(super) async fn close<T: Send + 'static>(descriptors: Vec<T>) {
    if !descriptors.is_empty() {
        // An error means that the daemon ends, and that closes them as well.
        let _ = tokio::task::spawn_blocking(move || drop(descriptors)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::IoSlice, mem::MaybeUninit};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use tokio::net::UnixStream;

    use super::*;

    fn pass(to: &UnixStream, bytes: &[u8], count: usize) {
        let file = File::open("/dev/null").expect("file");
        let files = vec![file.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).expect("sent");
    }

    fn pair() -> (UnixStream, Transport) {
        let (here, there) = UnixStream::pair().expect("sockets");
        let there = there.into_std().expect("a socket").into();
        (here, Transport::new(Stream::new(there).expect("watched"), Duration::from_secs(1)))
    }

    #[tokio::test]
    async fn descriptors_belong_to_the_frame_they_come_with() {
        let (here, mut transport) = pair();
        pass(&here, b"first", 2);
        pass(&here, b"second", 1);
        while transport.inbox.len() < 11 {
            transport.read().await.expect("read");
        }
        assert!(transport.refuse_surplus().is_ok());
        assert_eq!(transport.claim(2).len(), 2);
        let _ = transport.inbox.split_to(5);
        assert!(transport.refuse_surplus().is_ok());
        assert_eq!(transport.claim(1).len(), 1);
    }

    #[tokio::test]
    async fn descriptors_that_no_frame_claims_are_refused() {
        let (here, mut transport) = pair();
        pass(&here, b"first", 1);
        transport.read().await.expect("read");
        let _ = transport.inbox.split_to(5);
        pass(&here, b"x", 1);
        transport.read().await.expect("read");
        assert!(transport.refuse_surplus().is_err(), "meant for the frame before");
        let (here, mut transport) = pair();
        pass(&here, b"first", socket::MAX_DESCRIPTORS + 1);
        assert!(transport.read().await.is_err(), "more than a frame may bring");
    }
}
