//! The only unsafe code of user space: system calls that no crate wraps, and memory shared with the kernel.
//! Thin on purpose: what the calls are for is decided by others.

mod apart;
pub mod clock;
pub mod credentials;
pub mod file;
pub mod handle;
pub mod lease;
pub mod map;
pub mod memory;
pub mod peer;
pub mod readiness;
pub mod signal;
pub mod socket;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(not(target_pointer_width = "64"))]
compile_error!(
    "upcall passes 32-bit user and group ids by system calls that take 16 bits on 32-bit machines"
);

/// The result of a raw system call as a `Result`.
fn checked(result: libc::c_long) -> std::io::Result<libc::c_long> {
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor that a raw system call returned.
fn checked_fd(result: libc::c_long) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;

    let number =
        i32::try_from(checked(result)?).map_err(|_| std::io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the callers pass the result of a system call that creates a descriptor; it succeeded, so the
    // number is open and nobody else owns it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(number) })
}
