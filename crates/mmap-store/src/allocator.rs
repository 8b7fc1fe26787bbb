//! The C library's allocator, told to give large blocks back.
#![expect(unsafe_code, reason = "a call of the C library")]

/// Blocks of at least so many bytes are mapped one by one and unmapped when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 32 * 1024;
/// So many free bytes at the end of the heap are kept.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 4 << 20;

/// Has the allocator of the C library map large blocks one by one. An index grows by an eighth at a time, in many tables at once; on a common
/// heap each table would leave a hole that is too small for the next, which costs 4 bytes an entry at a million entries. Without effect where
/// the C library is another one. For a program's start, before it has threads.
pub fn map_large_allocations() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: `mallopt` changes two numbers of the allocator, as documented; both values are in range.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
            mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
        }
    }
}
