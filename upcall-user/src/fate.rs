//! What became of an inode that has left memory. Blocks; call it from a thread that may.

use std::os::fd::AsFd;

use crate::{
    access::{AccessError, Exports, verify_handle},
    hub::{Gone, Hub},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It exists, and has been found by its handle.
    Exists,
    Deleted,
    /// It has no handle, or none that can be used now.
    Unknown,
}

pub fn of(gone: &Gone, exports: &Exports, hub: &Hub) -> Fate {
    let Some(origin) = &gone.origin else { return Fate::Unknown };
    match verify_handle(exports, origin.export(), &origin.handle()) {
        Ok(fd) => match hub.found(gone, fd.as_fd()) {
            Some(true) => Fate::Exists,
            Some(false) => Fate::Deleted,
            None => Fate::Unknown,
        },
        Err(AccessError::StaleHandle(_)) => Fate::Deleted,
        Err(error) => {
            tracing::debug!(%error, "cannot find out whether an inode still exists");
            Fate::Unknown
        }
    }
}
