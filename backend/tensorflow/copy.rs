//! Copies what is large by several threads: one alone moves some 6 GB a second, and a batch of 64 images is 68 MB.

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use super::tensor::SharedSource;

/// What a thread copies at a time. It takes several times as long as to start the thread.
const PART: usize = 1 << 20;
/// Bytes that are worth a thread.
const BYTES_FOR_A_THREAD: usize = 2 * PART;
/// Some eight threads use all that there is of a memory's speed.
const MOST_THREADS: usize = 8;

/// Copies `sources` to `target`, one behind the other. They are as long together.
pub fn all<S: SharedSource>(sources: &[S], target: &mut [MaybeUninit<u8>]) {
    let cpus = available_parallelism().map_or(1, |count| count.get());
    by_threads(cpus.min(MOST_THREADS).min(target.len() / BYTES_FOR_A_THREAD), sources, target);
}

fn by_threads<S: SharedSource>(threads: usize, sources: &[S], target: &mut [MaybeUninit<u8>]) {
    if threads <= 1 {
        return part(sources, 0, target);
    }
    let parts = Mutex::new(target.chunks_mut(PART).enumerate());
    let work = || {
        while let Some((index, target)) = next(&parts) {
            part(sources, index * PART, target);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where the system starts no thread, the others do its work.
            if thread::Builder::new().name("copies".into()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
}

fn next<I: Iterator>(parts: &Mutex<I>) -> Option<I::Item> {
    parts.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Copies what begins at `start` of all `sources` to `target`.
fn part<S: SharedSource>(sources: &[S], start: usize, mut target: &mut [MaybeUninit<u8>]) {
    let mut skip = start;
    for source in sources {
        if target.is_empty() {
            return;
        }
        let len = source.len();
        if skip >= len {
            skip -= len;
            continue;
        }
        let (now, later) = target.split_at_mut((len - skip).min(target.len()));
        source.copy_part(skip, now);
        (skip, target) = (0, later);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // SAFETY: the bytes stay as they are while they are borrowed, and all of `target` is copied to.
    unsafe impl SharedSource for Vec<u8> {
        fn len(&self) -> usize {
            <[u8]>::len(self)
        }

        fn copy_part(&self, start: usize, target: &mut [MaybeUninit<u8>]) {
            for (to, &from) in target.iter_mut().zip(&self[start..]) {
                to.write(from);
            }
        }
    }

    fn copied(threads: usize, sources: &[Vec<u8>]) -> Vec<u8> {
        let len = sources.iter().map(Vec::len).sum();
        let mut target = vec![MaybeUninit::new(0xee); len];
        by_threads(threads, sources, &mut target);
        // SAFETY: all of it was initialised above.
        target.into_iter().map(|byte| unsafe { byte.assume_init() }).collect()
    }

    #[test]
    fn large_sources_are_copied_whole_by_any_number_of_threads() {
        let sources: Vec<Vec<u8>> = [3 * PART + 5, 0, 1, PART - 1, 2 * PART, 17]
            .into_iter()
            .enumerate()
            .map(|(index, len)| (0..len).map(|byte| (byte * 31 + index) as u8).collect())
            .collect();
        for threads in [0, 1, 2, 3, 8, 100] {
            assert!(copied(threads, &sources) == sources.concat(), "{threads} threads");
        }
        assert!(copied(8, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn any_part_of_the_sources_is_found(
            sources in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            from in 0.0..1.0_f64,
            to in 0.0..1.0_f64,
        ) {
            let whole = sources.concat();
            let place = |part: f64| (part * (whole.len() + 1) as f64) as usize;
            let (start, end) = (place(from.min(to)), place(from.max(to)));
            let mut target = vec![MaybeUninit::new(0xee); end - start];
            part(&sources, start, &mut target);
            // SAFETY: it was initialised from the start.
            let found: Vec<u8> = target.into_iter().map(|byte| unsafe { byte.assume_init() }).collect();
            prop_assert_eq!(found, &whole[start..end]);
        }
    }
}
