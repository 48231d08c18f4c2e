//! Arrays in memory that the kernel writes too.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A type that may lie in memory which others write at any time.
///
/// # Safety
///
/// It consists of atomics only (or of arrays of them), so that it is valid for every bit pattern and no access
/// through a shared reference is a data race.
pub unsafe trait Shared: Sync {}

// SAFETY: an atomic integer is valid for every bit pattern.
unsafe impl Shared for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shared for AtomicU32 {}
// SAFETY: an array of them is nothing else.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// An mmapped BPF array map (created with `BPF_F_MMAPABLE`), as a slice of its elements.
pub struct MappedArray<T: Shared> {
    address: NonNull<c_void>,
    bytes: NonZeroUsize,
    elements: usize,
    /// Only so that `/proc` tells whose map it is, and how much memory it takes.
    _map: OwnedFd,
    _elements: PhantomData<[T]>,
}

impl<T: Shared> MappedArray<T> {
    /// Fails with `EINVAL` where the map has not that many elements, or `T` has no size.
    pub fn new(map: BorrowedFd<'_>, elements: usize) -> io::Result<Self> {
        let bytes = elements
            .checked_mul(size_of::<T>())
            .filter(|bytes| *bytes <= isize::MAX.unsigned_abs())
            .and_then(NonZeroUsize::new)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let owned = map.try_clone_to_owned()?;
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes.get(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { address, bytes, elements, _map: owned, _elements: PhantomData })
    }
}

impl<T: Shared> Deref for MappedArray<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping has `elements` times the size of `T` and lives as long as `self`; it begins on
        // a page, which aligns any `T` of atomics; `Shared` promises that whatever the kernel or anybody
        // else writes there is a valid `T` and no data race. A BPF map refuses a mapping larger than itself.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr().cast::<T>(), self.elements) }
    }
}

impl<T: Shared> Drop for MappedArray<T> {
    fn drop(&mut self) {
        // SAFETY: address and length are those of the mapping; references into it cannot outlive `self`.
        // It can fail only for an address that is no page, which this is not.
        let _ = unsafe { libc::munmap(self.address.as_ptr(), self.bytes.get()) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached only as `&[T]` with `T: Sync`.
unsafe impl<T: Shared> Send for MappedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Shared> Sync for MappedArray<T> {}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::sync::atomic::Ordering::SeqCst;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    #[test]
    fn two_mappings_share_their_elements() {
        let file = File::from(memfd_create(c"map", MFdFlags::MFD_CLOEXEC).unwrap());
        file.set_len(4096).unwrap();
        let one = MappedArray::<[AtomicU64; 2]>::new(file.as_fd(), 5).unwrap();
        let two = MappedArray::<[AtomicU64; 2]>::new(file.as_fd(), 5).unwrap();
        drop(file);
        assert_eq!(one.len(), 5);
        one[4][1].fetch_or(6, SeqCst);
        assert_eq!(two[4][1].swap(0, SeqCst), 6);
        drop(two);
        std::thread::spawn(move || assert_eq!(one[4][1].load(SeqCst), 0)).join().unwrap();
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let file = File::from(memfd_create(c"map", MFdFlags::MFD_CLOEXEC).unwrap());
        for elements in [0, usize::MAX, usize::MAX / 8] {
            let error = MappedArray::<AtomicU64>::new(file.as_fd(), elements).err().unwrap();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{elements}");
        }
    }
}
