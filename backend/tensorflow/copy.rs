//! Copies what is large by several threads: one alone moves some 6 GB a second, and a batch of 64 images is 68 MB.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle, available_parallelism};

use rayon_core::{ThreadPool, ThreadPoolBuilder};

use super::memory::SharedSource;

/// What a thread copies at a time.
const PART: usize = 512 << 10;
/// Some sixteen threads use all that there is of a memory's speed.
const MOST_THREADS: usize = 16;

/// Threads that copy, one set for all models of the process. Dropping ends them and waits for that: the server may close the
/// library afterwards.
#[derive(Debug)]
pub struct Copiers {
    /// None where there is one CPU, or the system starts no threads, and once it is dropped.
    pool: Option<ThreadPool>,
    threads: Vec<JoinHandle<()>>,
}

impl Copiers {
    /// Those that there are, or new ones.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Copiers>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cpus = available_parallelism().map_or(1, |count| count.get());
            let new = Arc::new(Self::new(cpus.min(MOST_THREADS)));
            *shared = Arc::downgrade(&new);
            new
        })
    }

    /// So many threads copy, the calling one among them.
    fn new(threads: usize) -> Self {
        let mut started = Vec::new();
        let spawn = |worker: rayon_core::ThreadBuilder| {
            started.push(thread::Builder::new().name("copies".into()).spawn(|| worker.run())?);
            Ok(())
        };
        let builder = ThreadPoolBuilder::new().num_threads(threads.max(2) - 1).spawn_handler(spawn);
        let pool = if threads > 1 { builder.build().map(Some) } else { Ok(None) };
        let pool = pool.unwrap_or_else(|e| {
            log::warn!("inputs are copied by one thread: {e}");
            None
        });
        Self { pool, threads: started }
    }

    /// Copies `sources` to `target`, one behind the other. They are as long together.
    pub fn copy<S: SharedSource>(&self, sources: &[S], target: &mut [MaybeUninit<u8>]) {
        let parts = target.len().div_ceil(PART);
        let Some(pool) = self.pool.as_ref().filter(|_| parts > 1) else {
            return part(sources, 0, target);
        };
        let parts = (parts, Mutex::new(target.chunks_mut(PART).enumerate()));
        let work = || {
            while let Some((index, target)) = next(&parts.1) {
                part(sources, index * PART, target);
            }
        };
        pool.in_place_scope(|scope| {
            for _ in 0..pool.current_num_threads().min(parts.0 - 1) {
                scope.spawn(|_| work());
            }
            work();
        });
    }
}

impl Drop for Copiers {
    fn drop(&mut self) {
        self.pool = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread that copies ended in a panic");
            }
        }
    }
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
        copied_by(&Copiers::new(threads), sources)
    }

    fn copied_by(copiers: &Copiers, sources: &[Vec<u8>]) -> Vec<u8> {
        let len = sources.iter().map(Vec::len).sum();
        let mut target = vec![MaybeUninit::new(0xee); len];
        copiers.copy(sources, &mut target);
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
        for threads in [0, 1, 2, 3, 16] {
            assert!(copied(threads, &sources) == sources.concat(), "{threads} threads");
        }
        assert!(copied(8, &[]).is_empty());
    }

    #[test]
    fn all_models_have_the_same_threads_and_the_last_one_ends_them() {
        let (first, second) = (Copiers::shared(), Copiers::shared());
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        assert!(copied_by(&Copiers::shared(), &[vec![7; 3 * PART]]) == vec![7; 3 * PART]);
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
