//! The operator's stream of events.

use upcall_common::wire::Message;

use crate::error::Error;
use crate::net::Connection;
use crate::{Address, Options};

/// Live events, each a JSON object. Dropping it ends the stream. It ends with its connection: there is no
/// reconnection, no [`Notice`](crate::Notice), and no promise that every event comes.
#[derive(Debug)]
pub struct Events {
    /// Gone after the first failure.
    connection: Option<Connection>,
}

impl Events {
    pub(crate) async fn open(address: &Address, options: &Options, filter: String) -> Result<Self, Error> {
        let mut connection = Connection::open(address, options).await?;
        connection.send(&Message::Events(filter), 1, Vec::new())?;
        Ok(Self { connection: Some(connection) })
    }

    /// The next event; a refusal or the loss of the connection is the last one, then `None`.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<String, Error>> {
        let event = Self::receive(self.connection.as_mut()?).await;
        if event.is_err() {
            self.connection = None;
        }
        Some(event)
    }

    async fn receive(connection: &mut Connection) -> Result<String, Error> {
        loop {
            match connection.receive().await? {
                (_, Message::Event(json)) => return Ok(json),
                (_, Message::Error { code, message }) => return Err(Error::Refused { code, message }),
                (tag, Message::Ping(bytes)) => connection.send(&Message::Pong(bytes), tag, Vec::new())?,
                _ => {}
            }
        }
    }
}
