//! Client of the upcall daemon: hear of it when a file on the storage host changes.
//!
//! ```no_run
//! use upcall_client::{Address, Client, Notice, Options, Watch};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut upcalls) = Client::connect(&Address::default(), Options::default()).await?;
//! let cookie = 1;
//! for outcome in client.register(vec![Watch::path("/srv/data/file", cookie)]).await? {
//!     println!("live from version {}", outcome?.version);
//! }
//! // Only now read the file into a cache: what changes from here on is told.
//! while let Some(notice) = upcalls.next().await {
//!     match notice {
//!         Notice::Upcall { cookie, mask, version, .. } => println!("{cookie}: {mask:#x} at {version}"),
//!         // Drop what is cached, whenever it was read; what is read from here on is watched.
//!         Notice::Changed { cookie, .. } => println!("{cookie}: may have changed, read it again"),
//!         Notice::Resync { reason, .. } => println!("everything may have changed, read it again: {reason}"),
//!         Notice::Lost { cookie, error, .. } => println!("{cookie}: no longer watched: {error}"),
//!         // In between what is cached may be stale.
//!         Notice::Disconnected { reason } => println!("trust nothing for now: {reason}"),
//!         Notice::Reconnected => println!("what has not been dropped by now is good"),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A background task does all input and output; it ends when the [`Client`]s and the [`Upcalls`] are
//! dropped. When the connection breaks it connects again and registers every live watch again, so that
//! a program only ever acts on [`Notice`]s. Interest ids stay the same throughout. [`Notice::Resync`] and
//! [`Notice::Changed`] come when the interests that they speak of are live, never before, so that to read
//! again at once is right.
//!
//! [`Upcalls`] must be read: while nobody does, the socket is not read either, and requests fail with
//! [`Error::NotReading`]. The daemon merges what piles up; nothing is lost but detail.
#![forbid(unsafe_code)]

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod address;
mod client;
mod engine;
mod error;
mod events;
mod job;
mod named;
mod net;
mod notice;
mod options;
mod state;
mod watch;

pub use upcall_common::change;
pub use upcall_common::wire::{
    Access, Attrs, Code, Deny, EntryKind, EntryName, Identity, Keep, LeaseId, LeaseKind, LockKind, Means,
    ResyncReason, Who,
};

pub use self::address::{Address, AddressError, DEFAULT_SOCKET};
pub use self::client::Client;
pub use self::error::{Error, ItemError};
pub use self::events::Events;
pub use self::notice::{Names, Notice, Upcalls};
pub use self::options::Options;
pub use self::state::{
    Begun, Blocker, Grant, Held, LockRequest, OpenRequest, Opened, StateClient, StateNotice,
};
pub use self::watch::{Registered, Watch};
