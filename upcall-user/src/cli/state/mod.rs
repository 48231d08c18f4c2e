//! Holding leases, locks and share reservations from the command line.

mod command;
mod hold;
mod holder;
mod lease;
mod lock;
mod notice;
mod share;
mod shown;
mod voice;

pub(super) use self::lease::{LeaseArgs, run as lease};
pub(super) use self::lock::{LockArgs, run as lock};
pub(super) use self::share::{ShareArgs, run as share};
pub(super) use self::shown::{join, print as shown, summary, who};
