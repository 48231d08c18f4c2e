//! What a client may open: a file that it may read, and write to if it wants to.

use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{AccessError, Exports, Principal, Resolved, Target, resolve};
use crate::sys::file::may_write;

/// A file that the principal may open for reading.
#[derive(Debug)]
pub struct Openable {
    pub resolved: Resolved,
    /// It may open it for writing as well.
    pub writable: bool,
}

/// As [`resolve`], for an open. Read permission is asked for in any case: whoever has a file open hears of others who
/// open it. Whether it may write is found out in any case, too: the open may be widened later.
pub fn resolve_open(
    exports: &Exports,
    principal: &Principal,
    target: &Target,
    writes: bool,
) -> Result<Openable, AccessError> {
    let resolved = resolve(exports, principal, target)?;
    let proven = matches!(target, Target::Descriptor(passed) if is_writable(passed.as_fd())?);
    let writable = proven || permits_writing(principal, resolved.fd.as_fd())?;
    if writes && !writable {
        return Err(AccessError::NotPermitted(
            "the file may not be written to by this user: grant it write permission".to_owned(),
        ));
    }
    Ok(Openable { resolved, writable })
}

fn permits_writing(principal: &Principal, file: BorrowedFd<'_>) -> Result<bool, AccessError> {
    let _guard = principal.assume().map_err(|errno| principal.not_assumed(errno))?;
    match may_write(file) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Ok(false),
            _ => Err(AccessError::internal("check write permission")(error)),
        },
    }
}

/// Whether a descriptor is open for writing.
pub fn is_writable(passed: BorrowedFd<'_>) -> Result<bool, AccessError> {
    let flags = fcntl(passed, FcntlArg::F_GETFL)
        .map_err(|errno| AccessError::internal("look at the descriptor")(errno.into()))?;
    let flags = OFlag::from_bits_retain(flags);
    let writes = matches!(flags & OFlag::O_ACCMODE, OFlag::O_WRONLY | OFlag::O_RDWR);
    Ok(writes && !flags.contains(OFlag::O_PATH))
}
