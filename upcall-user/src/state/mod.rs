//! State held for clients: leases, share reservations and byte-range locks, arbitrated between clients. Pure: no I/O,
//! no clock.
//!
//! [`Table`] takes what clients ask for and what the kernel says, and the time. It answers at once, or later by an
//! [`Effect`]; effects are to be taken after each call ([`Table::take_effects`]) and carried out in their order.
//!
//! What needs the kernel is granted in two steps. A request becomes an ask; nothing is granted until
//! [`Table::answered`]; then the request is tried anew against the table as it is by then, and what the kernel holds for
//! nobody is given up again. So between ask and answer nothing is reserved, and nothing can leak.

mod claims;
mod clients;
mod effect;
mod ids;
mod inode;
mod kernel;
mod lease;
mod leases;
mod locks;
mod modes;
mod open;
mod opens;
mod range;
mod ranges;
mod recalls;
mod refusal;
mod request;
mod schedule;
mod settings;
mod settle;
mod show;
mod table;
mod tally;
mod waits;

#[cfg(test)]
mod tests;

pub use effect::{Effect, Kernel};
pub use ids::{
    AskId, ClientId, Connection, Holder, Identity, InodeId, LeaseId, OpenId, Owner, RequestId, Who,
};
pub use modes::{Access, Deny, Keep, LeaseKind, LockKind};
pub use range::Range;
pub use refusal::Refusal;
pub use request::{ChangeRequest, Granted, LeaseRequest, LockRequest, OpenRequest, Reply};
pub use settings::{Limits, Settings, Share, Switches};
pub use show::{
    Census, Place, Shown, ShownClient, ShownLease, ShownLock, ShownOpen, ShownRecall, ShownRequest, Wish,
};
pub use table::Table;
