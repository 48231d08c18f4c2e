//! Who may watch what: turns the target of a registration into a descriptor of the very inode, if it lies in an
//! export and the principal could read it.
//!
//! All of it blocks; call it from a thread that may. Permission is asked of the kernel, as the principal, at the
//! time of registration.
#![forbid(unsafe_code)]

mod anchor;
mod error;
mod exports;
mod inode;
mod links;
mod locate;
mod near;
mod open;
mod principal;
mod resolve;
mod root;
mod walk;

pub use self::open::{Openable, is_writable, resolve_open};
pub use error::AccessError;
pub use exports::{Export, ExportError, ExportSpec, Exports};
pub use principal::{Principal, PrincipalError};
pub use resolve::{Resolved, Target, resolve, resolve_batch, verify_handle};
pub use root::Availability;

pub(crate) use inode::magic_link;

pub use crate::sys::handle::FileHandle;

#[cfg(test)]
mod tests;
