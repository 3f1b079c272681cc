//! What the allocator keeps.

/// Gives the memory that was freed back to the kernel. Reading a file takes megabytes for a moment, in a thread of its
/// own whose share of the allocator would keep them for as long as the process lives. It takes the allocator's locks
/// for up to a millisecond: nothing for a moment in which adverts are due.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes no pointer, and glibc allows it from any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
