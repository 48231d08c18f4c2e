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
/// `examples/state.rs` has share reservations and locks, too.
///
/// # Errors
/// Requests that are refused fail with [`Error::Refused`], whose [`Code`](crate::Code) says why and what to do; each
/// method names its own. All may have `not_begun` after an identity was lost, `not_open` of an open that is not this
/// client's, and `grace` for a time after a restart of the daemon. After a reconnection all that is held is reclaimed
/// before [`Reconnected`](crate::Notice::Reconnected); what cannot be is told by a [`StateNotice`]. A request
/// that fails for another reason than a refusal has granted nothing that stays: what its answer might have
/// granted is released by the reconnection. (What it would have weakened, modes of an open or a write lock that is
/// locked for reading, is weaker then.) A future that is dropped leaves the outcome unknown;
/// [`close`](Self::close) releases all that an open carries. An open whose future is dropped is closed.
///
/// While there is no daemon nobody keeps local processes off. A lease that was reclaimed after a restart of the daemon
/// ([`Begun::reclaim`], as `begin_state` with the same identity tells it then, is not 0) promises nothing for the
/// time before: compare what is cached with the file before it is relied upon, or written back.
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

    /// Opens a file: alone, it reserves; leases and locks are carried by it.
    ///
    /// # Errors
    /// `not_permitted`, `not_found`, `not_exported`, `disabled`; `conflict` with another client's open, `recalling`
    /// where a lease is in the way, `local_conflict` with a local process; `unsupported` where the kernel cannot
    /// enforce what is denied; `too_many_opens`.
    pub async fn open(&self, request: OpenRequest) -> Result<Grant<Opened>, Error> {
        self.client.ask(state::Open::new(request)).await
    }

    /// Gives an open other modes, wider or narrower ones. Refused, it stays as it was. When the connection breaks before the answer, it has
    /// from then on what both have in common; from an access for reading alone to one for writing alone, it may be
    /// lost.
    ///
    /// # Errors
    /// As of [`open`](Self::open); `not_carried` where its leases or locks need what is taken away.
    pub async fn change(&self, open: u64, access: Access, deny: Deny) -> Result<(), Error> {
        self.client.ask(state::Change { open, access, deny }).await
    }

    /// Gives up an open with its leases and locks, and what waits on it.
    pub async fn close(&self, open: u64) -> Result<(), Error> {
        self.client.ask(state::Close { open }).await
    }

    /// Asks for a lease. Each one that is granted must be given back by itself, or with its open.
    ///
    /// # Errors
    /// `not_carried` by the open's access, `disabled`; `recalling` where another client's lease is in the way,
    /// `conflict` where its open is, `local_conflict` where a local process has the file open; `backoff` after a
    /// revocation; `unsupported` where the kernel cannot enforce it, or holds locks of the file; `too_many_leases`.
    pub async fn lease(&self, open: u64, kind: LeaseKind) -> Result<Held, Error> {
        self.client.ask(state::Lease { open, kind }).await
    }

    /// Gives up a lease, or with [`Keep::Read`] what makes it a write lease. That it was revoked before is no
    /// failure.
    ///
    /// # Errors
    /// `not_held`: the open has leases, but none of this kind.
    pub async fn give_back(&self, open: u64, kind: LeaseKind, keep: Keep) -> Result<(), Error> {
        self.client.ask(state::GiveBack { open, kind, keep }).await
    }

    /// Asks for more time to answer a recall, once. Returns what there is left.
    ///
    /// # Errors
    /// `not_recalled`; `extended` before.
    pub async fn extend(&self, open: u64) -> Result<Duration, Error> {
        self.client.ask(state::Extend { open }).await
    }

    /// Locks a range. What the owner had of it, by any open of the file, takes this kind and is carried by this open.
    ///
    /// # Errors
    /// `not_carried` by the open's access, `disabled`, `bad_range`; `conflict` with another owner, `local_conflict` with
    /// a local process; `deadlock` where it would wait for itself; `unsupported` where the kernel cannot enforce it, or
    /// holds a lease of the file; `too_many_locks`, `too_many_waiting`.
    pub async fn lock(&self, open: u64, request: LockRequest) -> Result<Grant<Held>, Error> {
        self.client.ask(state::Lock { open, request }).await
    }

    /// Unlocks what `owner` holds of a range of bytes, by any open of the file; `length` 0: to the end of the file.
    ///
    /// # Errors
    /// `bad_range`; `too_many_locks` where it would leave one range more than there may be: it stays locked.
    pub async fn unlock(&self, open: u64, owner: u64, start: u64, length: u64) -> Result<(), Error> {
        self.client.ask(state::Unlock { open, owner, start, length }).await
    }

    /// What is in the way of a lock; `None`: nothing was.
    ///
    /// # Errors
    /// `bad_range`, `disabled`.
    pub async fn test_lock(&self, open: u64, request: LockRequest) -> Result<Option<Blocker>, Error> {
        self.client.ask(state::TestLock { open, request }).await
    }

    /// Gives up a request that waits. Its notice comes all the same: with `cancelled`, unless it had ended
    /// before.
    ///
    /// # Errors
    /// `no_request`: its outcome has been told.
    pub async fn cancel(&self, request: u64) -> Result<(), Error> {
        self.client.ask(state::Cancel { request }).await
    }
}
