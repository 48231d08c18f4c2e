//! Finding the export that an open inode lies in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::AccessError;
use super::anchor::{decode, open_readable};
use super::inode::{claimed_path, identity, same};
use super::walk::{Found, Walker};
use crate::sys::handle::{FileHandle, handle_of};

/// How often a file that was renamed meanwhile is looked for again.
const ATTEMPTS: usize = 4;

/// What looking for an inode by its path found.
pub(super) enum Place {
    Export(usize),
    /// Beneath no export, as far as the kernel knows its path.
    Nowhere,
}

/// By the path that the kernel claims, which must lead to the same inode for the walker's user.
pub(super) fn by_path(walker: &mut Walker<'_>, inode: BorrowedFd<'_>) -> Result<Place, AccessError> {
    for _ in 0..ATTEMPTS {
        let Some(path) = claimed_path(inode) else { break };
        match walker.open_real(&path) {
            Ok(found) if same_inode(found.fd.as_fd(), inode)? => return Ok(Place::Export(found.export)),
            Ok(_) | Err(AccessError::NotFound(_) | AccessError::BadTarget(_) | AccessError::BadName(_)) => {}
            Err(AccessError::NotExported(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(Place::Nowhere)
}

/// For an inode whose path does not tell, but that is known to be of an export's filesystem.
pub(super) fn by_filesystem(
    walker: &mut Walker<'_>,
    inode: BorrowedFd<'_>,
) -> Result<Option<usize>, AccessError> {
    let dev = identity(inode).map_err(AccessError::internal("look at the inode"))?.dev;
    let mut exports = walker.exports().roots().iter().enumerate();
    let mut lies_in = |index| walker.root(index).is_ok_and(|root| root.identity.dev == dev);
    Ok(exports
        .find(|(index, export)| export.is_whole_filesystem() && lies_in(*index))
        .map(|(index, _)| index))
}

/// For an inode that was opened elsewhere, such as in a container: looks at it through the mounts of the exports.
/// Needs the daemon's privileges.
pub(super) fn by_handle(
    walker: &mut Walker<'_>,
    inode: BorrowedFd<'_>,
) -> Result<Option<Found>, AccessError> {
    let looking = "look at the inode";
    let dev = identity(inode).map_err(AccessError::internal(looking))?.dev;
    let Some(handle) = handle_of(inode).map_err(AccessError::internal(looking))? else { return Ok(None) };
    for index in 0..walker.exports().roots().len() {
        let Some(root) = walker.root(index).ok().filter(|root| root.identity.dev == dev) else { continue };
        let Some(here) = seen_from(root.as_fd(), &handle) else { continue };
        if !same_inode(here.as_fd(), inode)? {
            continue;
        }
        if let Place::Export(export) = by_path(walker, here.as_fd())? {
            return Ok(Some(Found { fd: here, export }));
        }
    }
    Ok(None)
}

/// A second look that may fail: the first one stands then.
fn seen_from(root: BorrowedFd<'_>, handle: &FileHandle) -> Option<OwnedFd> {
    open_readable(root).and_then(|mount| decode(mount, handle)).ok()
}

fn same_inode(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, AccessError> {
    same(one, other).map_err(AccessError::internal("compare two inodes"))
}
