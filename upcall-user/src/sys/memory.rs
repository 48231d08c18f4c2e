//! The process's own memory.

/// Gives back to the kernel what the allocator has kept of memory that is no more in use.
pub fn trim() {
    // SAFETY: it only releases free memory; it may be called at any time, from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
