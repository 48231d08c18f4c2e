//! State held for clients: opens with their share reservations, leases and byte-range locks.

mod answer;
mod field;
mod flags;
mod modes;
mod record;
mod request;
mod upcall;
mod who;

pub use self::answer::{
    Done, Extended, Json, Leased, LockConflict, Locked, Opened, StateAnswer, StateBegun, StateShown,
};
pub use self::flags::{GrantFlags, Means, ShownFlags, Terms};
pub use self::modes::{Access, Deny, Keep, LeaseKind, LockKind};
pub use self::request::{
    Cancel, Close, Extend, Lease, Lock, LockTest, Open, OpenChange, Return, StateBegin, StateQuery,
    StateRequest, Unlock,
};
pub use self::upcall::{Contention, LockGranted, OpenGranted, Recall, Revoked, StateUpcall};
pub use self::who::{Identity, LeaseId, Who};
