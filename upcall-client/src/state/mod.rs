//! Opens, leases and locks that the daemon holds for a client.

mod holdings;
mod locks;
mod notice;
mod ranges;
mod request;

use std::time::Duration;

use upcall_common::wire::{Access, Deny, Keep, LeaseKind};

pub(crate) use self::holdings::{Holdings, Wanted};
pub use self::notice::StateNotice;
pub(crate) use self::ranges::{Range, last};
pub use self::request::{Begun, Blocker, Grant, Held, LockRequest, OpenRequest, Opened};
use crate::Client;
use crate::error::Error;
use crate::job::state;

/// Holds opens, with share reservations, leases and byte-range locks, in the daemon. Clones share it.
///
/// ```no_run
/// use upcall_client::{
///     Access, Address, Client, Error, Grant, Identity, Keep, LeaseId, LeaseKind, Notice, OpenRequest,
///     Options, StateNotice,
/// };
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (client, mut upcalls) = Client::connect(&Address::default(), Options::default()).await?;
/// let state = client.begin_state(Identity(*b"my server, no. 1")).await?;
/// let request = OpenRequest::path("/srv/data/file", 1).access(Access::Both).lease_id(LeaseId([7; 16]));
/// let Grant::Granted(opened) = state.open(request).await? else { unreachable!("it does not wait") };
/// match state.lease(opened.open, LeaseKind::Write).await {
///     Ok(_) => println!("nobody else opens the file: writes may be cached"),
///     Err(Error::Refused { code, message }) => println!("no lease: {code} {message}"),
///     Err(error) => return Err(error.into()),
/// }
/// while let Some(notice) = upcalls.next().await {
///     match notice {
///         Notice::State(StateNotice::Recall { open, held, keep, .. }) => {
///             // Write back what is cached, then:
///             state.give_back(open, held, keep).await?;
///         }
///         Notice::State(StateNotice::Revoked { cookie, .. }) => println!("{cookie}: it was taken"),
///         Notice::State(StateNotice::LeaseLost { cookie, error, .. }) => println!("{cookie}: {error}"),
///         // Until `Reconnected` no lease is to be relied upon.
///         Notice::Disconnected { reason } => println!("{reason}"),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// Requests that are refused fail with [`Error::Refused`]. After a reconnection all that is held is reclaimed
/// before [`Reconnected`](crate::Notice::Reconnected); what cannot be is told by a [`StateNotice`]. A request
/// that fails for another reason than a refusal has granted nothing that stays: what its answer might have
/// granted is released by the reconnection. A future that is dropped leaves the outcome unknown;
/// [`close`](Self::close) releases all that an open carries. An open whose future is dropped is closed.
#[derive(Clone, Debug)]
pub struct StateClient {
    client: Client,
    begun: Begun,
}

impl StateClient {
    pub(crate) fn new(client: Client, begun: Begun) -> Self {
        Self { client, begun }
    }

    /// What the daemon offered when [`begin_state`](Client::begin_state) was called.
    pub fn begun(&self) -> Begun {
        self.begun
    }

    pub async fn open(&self, request: OpenRequest) -> Result<Grant<Opened>, Error> {
        self.client.ask(state::Open::new(request)).await
    }

    /// Gives an open other modes. Refused, it stays as it was. When the connection breaks before the answer, it has
    /// from then on what both have in common; from an access for reading alone to one for writing alone, it may be
    /// lost.
    pub async fn change(&self, open: u64, access: Access, deny: Deny) -> Result<(), Error> {
        self.client.ask(state::Change { open, access, deny }).await
    }

    /// Gives up an open with its leases and locks, and what waits on it.
    pub async fn close(&self, open: u64) -> Result<(), Error> {
        self.client.ask(state::Close { open }).await
    }

    /// Each lease that is granted must be given back by itself, or with its open.
    pub async fn lease(&self, open: u64, kind: LeaseKind) -> Result<Held, Error> {
        self.client.ask(state::Lease { open, kind }).await
    }

    /// Gives up a lease, or with [`Keep::Read`] what makes it a write lease. That it was revoked before is no
    /// failure.
    pub async fn give_back(&self, open: u64, kind: LeaseKind, keep: Keep) -> Result<(), Error> {
        self.client.ask(state::GiveBack { open, kind, keep }).await
    }

    /// Asks for more time to answer a recall, once. Returns what there is left.
    pub async fn extend(&self, open: u64) -> Result<Duration, Error> {
        self.client.ask(state::Extend { open }).await
    }

    pub async fn lock(&self, open: u64, request: LockRequest) -> Result<Grant<Held>, Error> {
        self.client.ask(state::Lock { open, request }).await
    }

    /// Unlocks what `owner` holds of a range; `length` 0: to the end of the file.
    pub async fn unlock(&self, open: u64, owner: u64, start: u64, length: u64) -> Result<(), Error> {
        self.client.ask(state::Unlock { open, owner, start, length }).await
    }

    /// What is in the way of a lock; `None`: nothing.
    pub async fn test_lock(&self, open: u64, request: LockRequest) -> Result<Option<Blocker>, Error> {
        self.client.ask(state::TestLock { open, request }).await
    }

    /// Gives up a request that waits. Its notice comes all the same: with `cancelled`, unless it had ended
    /// before.
    pub async fn cancel(&self, request: u64) -> Result<(), Error> {
        self.client.ask(state::Cancel { request }).await
    }
}
