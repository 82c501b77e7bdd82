//! Many requests at once, and waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Runs `work(0)` to `work(count - 1)` on `threads` threads, each taking the next number that is free; the
/// results in the order of the numbers.
pub fn in_parallel<T: Send>(threads: usize, count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = work(number);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Waits until it is so, at most for 20 s; whether it is.
pub fn eventually(is_so: impl Fn() -> bool) -> bool {
    (0..400).any(|_| {
        let so = is_so();
        if !so {
            std::thread::sleep(Duration::from_millis(50));
        }
        so
    })
}

/// What was to be shown, unless the machine was at fault: it stalls at times, but not three times in a row. Each attempt
/// gets its number, for a model of its own.
///
/// # Panics
///
/// When no attempt shows it; the message is the last one's.
pub fn in_one_of_three(attempt: impl Fn(u32) -> Result<(), String>) {
    let mut last = String::new();
    for number in 0..3 {
        match attempt(number) {
            Ok(()) => return,
            Err(fault) => last = fault,
        }
        eprintln!("attempt {number}: {last}");
    }
    panic!("three times: {last}");
}

/// For an attempt of [`in_one_of_three`]: `fault` says what was seen instead.
pub fn check(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// Repeatable pseudo-random numbers (Marsaglia's xorshift with 64 bits).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    /// `count` numbers in -4..4, each exact in FP32 and so are sums with small whole numbers.
    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| (self.below(8192) as f32 - 4096.0) / 1024.0).collect()
    }
}
