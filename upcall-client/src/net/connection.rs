//! A connection that has been welcomed.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::time::timeout;
use upcall_common::wire::{
    EncodeError, FEATURE_DESCRIPTORS, FEATURE_NAMES, FEATURE_STATE, Hello, Message, VERSION, Welcome, decode,
};

use super::outbox::Outbox;
use super::stream::Stream;
use crate::error::Error;
use crate::{Address, Options};

/// Bytes to make room for before each read.
const READ: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    /// At most one unfinished frame and one read.
    inbox: BytesMut,
    outbox: Outbox,
    welcome: Welcome,
}

impl Connection {
    pub(crate) async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        let limit = options.connect_timeout;
        timeout(limit, Self::shake_hands(address, options)).await.map_err(|_| Error::TimedOut(limit))?
    }

    async fn shake_hands(address: &Address, options: &Options) -> Result<Self, Error> {
        let stream = Stream::connect(address)
            .await
            .map_err(|source| Error::Connect { address: address.clone(), source })?;
        let features =
            FEATURE_NAMES | FEATURE_STATE | if stream.passes_descriptors() { FEATURE_DESCRIPTORS } else { 0 };
        let nobody = Welcome {
            version: VERSION,
            max_body: 0,
            max_batch: 0,
            features: 0,
            epoch: 0,
            server: String::new(),
        };
        let mut connection =
            Self { stream, inbox: BytesMut::new(), outbox: Outbox::default(), welcome: nobody };
        let hello =
            Hello { version_min: VERSION, version_max: VERSION, features, name: options.name.clone() };
        connection.send(&Message::Hello(hello), 1, Vec::new())?;
        connection.welcome = match connection.receive().await? {
            (_, Message::Welcome(welcome)) if welcome.version == VERSION => welcome,
            (_, Message::Welcome(welcome)) => {
                return Err(Error::Protocol(format!("it chose version {}, not offered", welcome.version)));
            }
            (_, Message::Error { code, message }) => return Err(Error::Refused { code, message }),
            _ => return Err(Error::unexpected("its first frame is no WELCOME")),
        };
        connection.welcome.features &= features;
        Ok(connection)
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Queues a frame.
    pub(crate) fn send(
        &mut self,
        message: &Message,
        tag: u32,
        files: Vec<Arc<OwnedFd>>,
    ) -> Result<(), EncodeError> {
        self.outbox.push(message, tag, files)
    }

    /// Whether answering another frame is affordable.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// The next message that has been read already; frames of unknown types are skipped.
    pub(crate) fn next_message(&mut self) -> Result<Option<(u32, Message)>, Error> {
        loop {
            match decode(&mut self.inbox)? {
                Some((_, Message::Unknown { .. })) => {}
                other => return Ok(other),
            }
        }
    }

    /// Writes what is queued and reads, if `read`, what is there. Resolves once something was read, or, without `read`,
    /// all is written or there is room again. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self, read: bool) -> Result<bool, Error> {
        if !read && self.outbox.is_empty() {
            return std::future::pending().await;
        }
        let full = !self.has_room();
        poll_fn(|cx| {
            self.poll_flush(cx)?;
            if read {
                self.poll_read(cx)
            } else if self.outbox.is_empty() || full && self.has_room() {
                Poll::Ready(Ok(false))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Writes what the socket takes; what is left is tried again when there is room.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.outbox.flush(&self.stream)?;
        while !self.outbox.is_empty() && self.stream.poll_writable(cx)?.is_ready() {
            self.outbox.flush(&self.stream)?;
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        self.inbox.reserve(READ);
        match ready!(self.stream.poll_read(cx, &mut self.inbox))? {
            0 => Poll::Ready(Err(Error::Closed)),
            _ => Poll::Ready(Ok(true)),
        }
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn receive(&mut self) -> Result<(u32, Message), Error> {
        loop {
            if let Some(message) = self.next_message()? {
                return Ok(message);
            }
            self.progress(true).await?;
        }
    }
}
