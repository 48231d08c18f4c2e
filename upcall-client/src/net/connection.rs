//! A connection that has been welcomed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::time::timeout;
use upcall_common::wire::{
    EncodeError, FEATURE_DESCRIPTORS, FEATURE_NAMES, Hello, Message, VERSION, Welcome, decode,
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
        let features = FEATURE_NAMES | if stream.passes_descriptors() { FEATURE_DESCRIPTORS } else { 0 };
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

    /// Waits until the socket can be written, if something is queued, or read, if `read`; then does it.
    /// Returns whether something was read. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self, read: bool) -> Result<bool, Error> {
        self.outbox.flush(&self.stream)?;
        let interest = match (read, self.outbox.is_empty()) {
            (true, true) => Interest::READABLE,
            (true, false) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::WRITABLE,
            (false, true) => return std::future::pending().await,
        };
        self.stream.ready(interest).await?;
        self.outbox.flush(&self.stream)?;
        if read { self.read() } else { Ok(false) }
    }

    /// Reads what is there; true if something was.
    fn read(&mut self) -> Result<bool, Error> {
        self.inbox.reserve(READ);
        match self.stream.try_read(&mut self.inbox) {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) => Err(error.into()),
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
