//! Waiting for the kernel's rings and reports, and for files that say that they have changed.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

/// A type that keeps one descriptor open for as long as it lives, and always names that one.
///
/// # Safety
///
/// `as_raw_fd` returns the same open descriptor until the value is dropped.
pub unsafe trait KeepsDescriptor: AsRawFd {}

// SAFETY: the ring owns its map's descriptor and never replaces it.
unsafe impl KeepsDescriptor for RingBuf<MapData> {}
// SAFETY: it owns a ring and never replaces it.
unsafe impl KeepsDescriptor for EbpfLogger<&'static dyn log::Log> {}
// SAFETY: it owns its descriptor, and nobody can put another one in its place.
unsafe impl KeepsDescriptor for File {}

// SAFETY: it is the descriptor.
unsafe impl KeepsDescriptor for OwnedFd {}

/// Tells when there is something to read.
pub fn readable<T: KeepsDescriptor>(ring: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what `KeepsDescriptor` promises.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(Into::into)
}

/// Tells when there is room to write.
pub fn writable<T: KeepsDescriptor>(socket: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: what `KeepsDescriptor` promises.
    unsafe { AsyncFd::register_with_interest(socket, Interest::WRITABLE) }.map_err(Into::into)
}

/// How /proc/self/mountinfo says of a change: as an error, and as priority data.
pub const CHANGED: Interest = Interest::PRIORITY.add(Interest::ERROR);

/// Tells, by [`CHANGED`], when such a file has changed.
pub fn changes(file: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: what `KeepsDescriptor` promises.
    unsafe { AsyncFd::register_with_interest(file, CHANGED) }.map_err(Into::into)
}
