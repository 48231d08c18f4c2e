//! Why a request is refused.

use super::Who;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no such client, or not over this connection any more: begin again")]
    NotBegun,
    #[error("another user's client has this identity: choose one at random")]
    IdentityInUse,
    #[error("as many clients hold state as may: try later")]
    TooManyClients,
    #[error(
        "the daemon has started, and until its grace period is over accepts only reclaims: ask again then"
    )]
    Grace,
    #[error("there is nothing to reclaim: ask for it anew")]
    NoReclaim,
    #[error("no such open of this client: open the file first")]
    NotOpen,
    #[error(
        "the client's user may not write to the file, or might not when it was opened: grant it write permission and open the file anew"
    )]
    NotPermitted,
    #[error("the open's access does not carry it: open the file for it")]
    NotCarried,
    #[error("the open carries a lease or a lock for which it needs its access: give that up first")]
    Carries,
    #[error("this open has no such lease: return the kind that it holds")]
    NotHeld,
    #[error("the lease is not being recalled: there is nothing to extend")]
    NotRecalled,
    #[error("this recall has been extended already: return the lease")]
    Extended,
    #[error("what another one holds is in the way: ask again later, or wait")]
    Conflict(Who),
    #[error("a lease is in the way and is being recalled: try again")]
    Recalling,
    #[error("a lease of this file was revoked from this client lately: try again later")]
    Backoff,
    #[error(
        "a local process has the file open, or locked, in a way that conflicts: ask again when it has closed it"
    )]
    LocalConflict(Who),
    #[error("the kernel cannot hold local processes to it: accept it as advisory")]
    Unsupported,
    #[error("the owners would wait for each other: unlock something first")]
    Deadlock,
    #[error("it was cancelled")]
    Cancelled,
    #[error("the open was closed meanwhile: open the file again")]
    Released,
    #[error("no such request waits: it has been answered")]
    NotWaiting,
    #[error("this client, or the file, has as many opens as it may: close some")]
    TooManyOpens,
    #[error("this client, or the file, has as many leases as it may: return some")]
    TooManyLeases,
    #[error("this client, or the file, has as many locks as it may: unlock some")]
    TooManyLocks,
    #[error("as many requests of this client, or for the file, wait as may: ask again later")]
    TooManyWaiting,
}
