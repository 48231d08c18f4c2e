//! What this process does about signals.

use std::io;

use nix::sys::signal::{SigHandler, Signal, signal};

/// `SIGIO`, by which the kernel tells whoever took a lease that it breaks, and which ends a process that does nothing
/// about it.
pub fn ignore_io() -> io::Result<()> {
    // SAFETY: to ignore a signal runs no code.
    unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }?;
    Ok(())
}
