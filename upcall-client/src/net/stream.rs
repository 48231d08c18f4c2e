//! One socket, Unix or TCP.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use bytes::BytesMut;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio::io::Interest;
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

    /// Waits until one of `interest` is worth trying.
    pub(super) async fn ready(&self, interest: Interest) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.ready(interest).await?,
            Self::Tcp(stream) => stream.ready(interest).await?,
        };
        Ok(())
    }

    pub(super) fn try_read(&self, buf: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.try_read_buf(buf),
            Self::Tcp(stream) => stream.try_read_buf(buf),
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
