//! A connection's bytes: the same over Unix and TCP, but that a Unix socket carries descriptors too.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::sys::socket;

const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
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
        Self { stream, inbox: BytesMut::new(), received: 0, descriptors: VecDeque::new(), stall }
    }

    /// Waits for bytes and appends them to the inbox; 0 at the end. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        self.inbox.reserve(CHUNK);
        let count = match &mut self.stream {
            Stream::Tcp(stream) => stream.read_buf(&mut self.inbox).await?,
            Stream::Unix(stream) => loop {
                stream.readable().await?;
                let mut buffer = [0; 16 * 1024];
                let mut passed = Vec::new();
                let received = stream
                    .try_io(Interest::READABLE, || socket::receive(stream.as_fd(), &mut buffer, &mut passed));
                let too_many = passed.len() > socket::MAX_DESCRIPTORS;
                let end = self.received + *received.as_ref().unwrap_or(&0) as u64;
                self.descriptors.extend(passed.into_iter().map(|descriptor| (end, descriptor)));
                // Those of the frame that the inbox begins with, and of the next one.
                if too_many || self.descriptors.len() > 2 * socket::MAX_DESCRIPTORS {
                    return Err(surplus());
                }
                match received {
                    Ok(count) => {
                        self.inbox.put_slice(buffer.get(..count).unwrap_or_default());
                        break count;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            },
        };
        self.received += count as u64;
        Ok(count)
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
    pub(super) async fn write(&mut self, mut bytes: BytesMut) -> io::Result<()> {
        while !bytes.is_empty() {
            let write = async {
                match &mut self.stream {
                    Stream::Unix(stream) => stream.write_buf(&mut bytes).await,
                    Stream::Tcp(stream) => stream.write_buf(&mut bytes).await,
                }
            };
            match timeout(self.stall, write).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            };
        }
        Ok(())
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
        (here, Transport::new(Stream::Unix(there), Duration::from_secs(1)))
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
