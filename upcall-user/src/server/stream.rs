//! A connected socket: the same over Unix and TCP, for whoever reads and for all who write.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::net::{SendFlags, send};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::sys::readiness;

/// Watched for bytes to read alone: one that is watched for room, too, wakes the daemon whenever its peer has read.
#[derive(Debug)]
pub(super) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        readiness::readable(socket).map(Self)
    }

    pub(super) async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
        self.0.readable().await
    }

    /// Waits until a write that had no room has some.
    pub(super) async fn room(&self) -> io::Result<()> {
        let socket = readiness::writable(self.0.get_ref().try_clone()?)?;
        socket.writable().await.map(drop)
    }

    /// Writes what the socket takes without waiting.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.as_fd(), bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
