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

/// Descriptors received and not yet claimed by a request: more than any request may bring is abuse.
const MAX_UNCLAIMED: usize = 4 * socket::MAX_DESCRIPTORS;
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
    descriptors: Vec<OwnedFd>,
    /// Longest time that a write may make no progress.
    stall: Duration,
}

impl Transport {
    pub(super) fn new(stream: Stream, stall: Duration) -> Self {
        Self { stream, inbox: BytesMut::new(), descriptors: Vec::new(), stall }
    }

    /// Waits for bytes and appends them to the inbox; 0 at the end. Cancel-safe.
    pub(super) async fn read(&mut self) -> io::Result<usize> {
        self.inbox.reserve(CHUNK);
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read_buf(&mut self.inbox).await,
            Stream::Unix(stream) => loop {
                stream.readable().await?;
                let mut buffer = [0; 16 * 1024];
                let received = stream.try_io(Interest::READABLE, || {
                    socket::receive(stream.as_fd(), &mut buffer, &mut self.descriptors)
                });
                match received {
                    Ok(count) => {
                        self.inbox.put_slice(buffer.get(..count).unwrap_or_default());
                        if self.descriptors.len() > MAX_UNCLAIMED {
                            return Err(io::Error::other("too many descriptors that no request claims"));
                        }
                        return Ok(count);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// The descriptors that came with the request just decoded, as many as it speaks of.
    pub(super) fn claim(&mut self, count: usize) -> Vec<OwnedFd> {
        self.descriptors.drain(..count.min(self.descriptors.len())).collect()
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
