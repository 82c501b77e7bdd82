//! The clock of an open loop.

use std::io;
use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::clock::now_ns;

/// Tells which requests are due. Uses a kernel timer, because the runtime's timer has a resolution of milliseconds.
pub(super) struct Pacer {
    arrivals: Peekable<Box<dyn Iterator<Item = Duration> + Send>>,
    start_ns: u64,
    timer: AsyncFd<OwnedFd>,
}

impl Pacer {
    /// Needs to be called inside a runtime.
    pub fn new(arrivals: Box<dyn Iterator<Item = Duration> + Send>) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "meant for types that may close their descriptor meanwhile, which an OwnedFd does not"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { arrivals: arrivals.peekable(), start_ns: 0, timer })
    }

    /// The arrivals count from here.
    pub fn start(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
    }

    /// The due time of the next request, if it has passed.
    pub fn due(&mut self) -> Option<u64> {
        let due_ns = self.next_ns()?;
        (due_ns <= now_ns()).then(|| {
            self.arrivals.next();
            due_ns
        })
    }

    /// Whether no more requests will be due.
    pub fn is_over(&mut self) -> bool {
        self.arrivals.peek().is_none()
    }

    /// Waits until the next request is due, or a little less. Without one, for ever.
    pub async fn wait(&mut self) -> io::Result<()> {
        let Some(due_ns) = self.next_ns() else { return std::future::pending().await };
        let it_value =
            Timespec { tv_sec: (due_ns / 1_000_000_000) as i64, tv_nsec: (due_ns % 1_000_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &once)?;
        // Setting it again resets it, so it need not be read.
        self.timer.readable().await?.clear_ready();
        Ok(())
    }

    fn next_ns(&mut self) -> Option<u64> {
        let since_start = self.arrivals.peek()?;
        Some(self.start_ns.saturating_add(since_start.as_nanos().try_into().unwrap_or(u64::MAX)))
    }
}
