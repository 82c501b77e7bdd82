//! How much memory something takes.

use peak_alloc::PeakAlloc;

#[global_allocator]
static COUNT: PeakAlloc = PeakAlloc;

/// Calls `work`, which may have at most `bytes` more than there are now at any time.
///
/// # Panics
/// It has more.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    COUNT.reset_peak_usage();
    let before = COUNT.current_usage();
    let result = work();
    let taken = COUNT.peak_usage().saturating_sub(before);
    assert!(taken <= bytes, "{taken} bytes of memory where {bytes} are allowed");
    result
}
