//! What two sides of a boundary must agree on: the records that BPF programs and the daemon share
//! ([`abi`], `no_std`), how they do so without a lock ([`protocol`]), how a slot is found ([`index`]), the change bits that
//! everybody speaks ([`change`]), the ways an inode changes ([`paths`]), and the protocol between daemon and clients
//! (`wire`, behind a feature because it needs std).
#![cfg_attr(not(feature = "wire"), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod change;
pub mod index;
pub mod paths;
pub mod protocol;
#[cfg(feature = "wire")]
pub mod wire;
