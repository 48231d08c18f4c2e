//! What a client may open: a file that it may read, and write to if it wants to.

use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{AccessError, Exports, Principal, Resolved, Target, resolve};
use crate::sys::file::may_write;

/// As [`resolve`], for an open. Read permission is asked for in any case: whoever has a file open hears of others who
/// open it.
pub fn resolve_open(
    exports: &Exports,
    principal: &Principal,
    target: &Target,
    writes: bool,
) -> Result<Resolved, AccessError> {
    let found = resolve(exports, principal, target)?;
    let proven = matches!(target, Target::Descriptor(passed) if is_writable(passed.as_fd())?);
    if writes && !proven {
        let _guard = principal.assume().map_err(|errno| principal.not_assumed(errno))?;
        may_write(found.fd.as_fd()).map_err(|error| match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => AccessError::NotPermitted(
                "the file may not be written to by this user: grant it write permission".to_owned(),
            ),
            _ => AccessError::internal("check write permission")(error),
        })?;
    }
    Ok(found)
}

/// Whether a descriptor is open for writing.
pub fn is_writable(passed: BorrowedFd<'_>) -> Result<bool, AccessError> {
    let flags = fcntl(passed, FcntlArg::F_GETFL)
        .map_err(|errno| AccessError::internal("look at the descriptor")(errno.into()))?;
    let flags = OFlag::from_bits_retain(flags);
    let writes = matches!(flags & OFlag::O_ACCMODE, OFlag::O_WRONLY | OFlag::O_RDWR);
    Ok(writes && !flags.contains(OFlag::O_PATH))
}
