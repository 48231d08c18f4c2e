//! The only code that touches sockets.

mod connection;
mod outbox;
mod stream;

pub(crate) use self::connection::Connection;
