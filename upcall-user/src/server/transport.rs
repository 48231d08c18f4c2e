//! A connection's bytes: the same over Unix and TCP, but that a Unix socket carries descriptors too.

use std::{
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
    /// Descriptors that no request has claimed yet, and how much had been received when they had come.
    descriptors: Vec<OwnedFd>,
    descriptors_end: u64,
    /// Longest time that a write may make no progress.
    stall: Duration,
}

impl Transport {
    pub(super) fn new(stream: Stream, stall: Duration) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            received: 0,
            descriptors: Vec::new(),
            descriptors_end: 0,
            stall,
        }
    }

    /// Waits for bytes and appends them to the inbox; 0 at the end. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        self.inbox.reserve(CHUNK);
        let count = match &mut self.stream {
            Stream::Tcp(stream) => stream.read_buf(&mut self.inbox).await?,
            Stream::Unix(stream) => loop {
                stream.readable().await?;
                let mut buffer = [0; 16 * 1024];
                let held = self.descriptors.len();
                let received = stream.try_io(Interest::READABLE, || {
                    socket::receive(stream.as_fd(), &mut buffer, &mut self.descriptors)
                });
                match received {
                    Ok(count) => {
                        self.inbox.put_slice(buffer.get(..count).unwrap_or_default());
                        if self.descriptors.len() > held {
                            self.descriptors_end = self.received + count as u64;
                        }
                        // Those of one frame come with its first byte, so never more than one frame's.
                        if self.descriptors.len() > socket::MAX_DESCRIPTORS {
                            return Err(surplus());
                        }
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
        self.descriptors.drain(..count.min(self.descriptors.len())).collect()
    }

    /// Refuses descriptors that came with an earlier frame than the one that the inbox begins with: whatever
    /// they were meant for, taking them for this frame's would watch the wrong files.
    pub(super) fn refuse_surplus(&self) -> io::Result<()> {
        let frame = self.received - self.inbox.len() as u64;
        if self.descriptors.is_empty() || self.descriptors_end > frame { Ok(()) } else { Err(surplus()) }
    }

    /// Closes descriptors that nobody has claimed. Closing may wait for whoever serves the file.
    pub(super) async fn close_descriptors(&mut self) {
        close(std::mem::take(&mut self.descriptors)).await;
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
    io::Error::new(io::ErrorKind::InvalidData, "descriptors came that no request speaks of")
}

/// Closes passed descriptors where it may take for ever: a file of a FUSE filesystem asks its server first.
pub(super) async fn close<T: Send + 'static>(descriptors: Vec<T>) {
    if !descriptors.is_empty() {
        // An error means that the daemon ends, and that closes them as well.
        let _ = tokio::task::spawn_blocking(move || drop(descriptors)).await;
    }
}
