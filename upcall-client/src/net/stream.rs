//! One socket, Unix or TCP.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::Address;

#[derive(Debug)]
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Stream {
    pub(super) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    pub(super) fn passes_descriptors(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// Reads what is there, or waits for it. Unlike a bare attempt it takes a read that did not fill the buffer for
    /// the last one, so that no second one has to find nothing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(stream) => pin!(stream.read_buf(buf)).poll(cx),
            Self::Tcp(stream) => pin!(stream.read_buf(buf)).poll(cx),
        }
    }

    /// Ready when writing is worth trying.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => stream.poll_write_ready(cx),
            Self::Tcp(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes some of `bytes`; with the first of them go `files`, which only a Unix socket can pass.
    pub(super) fn try_write(&self, bytes: &[u8], files: &[Arc<OwnedFd>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) if files.is_empty() => stream.try_write(bytes),
            Self::Unix(stream) => {
                let files: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
                let rights = [ControlMessage::ScmRights(&files)];
                stream.try_io(Interest::WRITABLE, || {
                    let iov = [IoSlice::new(bytes)];
                    Ok(sendmsg::<UnixAddr>(stream.as_raw_fd(), &iov, &rights, MsgFlags::MSG_NOSIGNAL, None)?)
                })
            }
        }
    }
}
