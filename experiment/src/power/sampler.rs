//! Reads a meter and the CPU clocks in the background, and computes the consumption between two times.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cpu_time::{ServerCpu, own_cpu_s};
use super::device::{self, DeviceSample};
use super::meter::Meter;
use crate::clock::{now_ns, seconds};
use crate::results::{Consumption, PowerSource};

/// Samples of a growing quantity.
#[derive(Debug, Default)]
struct Curve(VecDeque<(u64, f64)>);

impl Curve {
    fn reaches(&self, ns: u64) -> bool {
        self.0.back().is_some_and(|last| last.0 >= ns)
    }

    /// Linear interpolation; none outside the samples.
    fn at(&self, ns: u64) -> Option<f64> {
        let after = self.0.partition_point(|point| point.0 < ns);
        let (end_ns, end) = *self.0.get(after)?;
        if end_ns == ns {
            return Some(end);
        }
        let (start_ns, start) = *self.0.get(after.checked_sub(1)?)?;
        Some(start + (end - start) * (ns - start_ns) as f64 / (end_ns - start_ns) as f64)
    }

    fn growth(&self, start_ns: u64, end_ns: u64) -> Option<f64> {
        Some(self.at(end_ns)? - self.at(start_ns)?)
    }

    /// Keeps the last point before, for the interpolation.
    fn forget_before(&mut self, ns: u64) {
        let kept = self.0.partition_point(|point| point.0 < ns).saturating_sub(1);
        self.0.drain(..kept);
    }
}

#[derive(Debug, Default)]
struct State {
    joules: Curve,
    server_cpu_s: Curve,
    client_cpu_s: Curve,
    devices: VecDeque<(u64, DeviceSample)>,
    /// Why the meter is no longer read.
    failure: Option<String>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the samples")
    }

    /// Waits until a condition holds, or until a time.
    fn wait(&self, until_ns: u64, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        loop {
            let now = now_ns();
            if holds(&state) || now >= until_ns {
                return state;
            }
            let left = Duration::from_nanos(until_ns - now);
            state = self
                .changed
                .wait_timeout(state, left)
                .expect("no thread panics while it holds the samples")
                .0;
        }
    }
}

/// A thread that samples, until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    source: PowerSource,
    patience_ns: u64,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Starts sampling. Returns after the first energy reading, so that a period may begin at once, or after the meter's
    /// patience without one.
    pub fn start(meter: Box<dyn Meter>, server_pid: Option<u32>) -> Self {
        let source = meter.source();
        let patience_ns = meter.patience().as_nanos() as u64;
        let shared = Arc::new(Shared::default());
        let work = Work { meter, server: server_pid.map(ServerCpu::new), shared: shared.clone() };
        let thread = Builder::new().name("power".to_owned()).spawn(|| work.run());
        let thread = Some(thread.expect("a thread can be started"));
        let sampler = Self { source, patience_ns, shared, thread };
        drop(sampler.wait_for(0));
        sampler
    }

    /// The power source.
    pub fn source(&self) -> &PowerSource {
        &self.source
    }

    /// The consumption from one time to another, on [`now_ns`]'s clock.
    ///
    /// Waits for samples at or after the end, at most for the meter's patience. Energy and CPU time are interpolated
    /// between the samples around each edge and never extrapolated: outside the samples they are absent, for energy with
    /// the reason.
    ///
    /// # Errors
    /// The meter failed before the end of the period, or the period is empty or begins before the sampler.
    pub fn between(&self, start_ns: u64, end_ns: u64) -> Result<Consumption> {
        ensure!(start_ns < end_ns, "a period must end after it starts: {start_ns} ns to {end_ns} ns");
        let state = self.wait_for(end_ns);
        let energy_j = state.joules.growth(start_ns, end_ns);
        if let Some(failure) = state.failure.as_ref().filter(|_| energy_j.is_none()) {
            bail!("the power source {} failed: {failure}", self.source.name);
        }
        let client_cpu_s = state.client_cpu_s.growth(start_ns, end_ns).with_context(|| {
            format!("no samples from {start_ns} ns to {end_ns} ns: the sampler started later, or is stuck")
        })?;
        let seconds = seconds(end_ns - start_ns);
        let within = state.devices.iter().filter(|(ns, _)| (start_ns..=end_ns).contains(ns));
        Ok(Consumption {
            seconds,
            energy_j,
            average_power_w: energy_j.map(|joules| joules / seconds),
            energy_missing: self.energy_missing(&state, start_ns, end_ns),
            server_cpu_s: state.server_cpu_s.growth(start_ns, end_ns),
            client_cpu_s,
            device: device::summarise(within.map(|(_, sample)| sample)),
        })
    }

    /// Drops the samples that no period from a time on needs.
    pub fn forget_before(&self, ns: u64) {
        let mut state = self.shared.lock();
        state.joules.forget_before(ns);
        state.server_cpu_s.forget_before(ns);
        state.client_cpu_s.forget_before(ns);
        let old = state.devices.partition_point(|sample| sample.0 < ns);
        state.devices.drain(..old);
    }

    /// Waits for all samples at or after a time.
    fn wait_for(&self, ns: u64) -> MutexGuard<'_, State> {
        self.shared.wait(ns.max(now_ns()).saturating_add(self.patience_ns), |state| {
            let energy = !self.source.has_energy || state.joules.reaches(ns);
            state.failure.is_some() || (energy && state.client_cpu_s.reaches(ns))
        })
    }

    fn energy_missing(&self, state: &State, start_ns: u64, end_ns: u64) -> Option<String> {
        let points = &state.joules.0;
        let reason = match (points.front(), points.back()) {
            _ if !self.source.has_energy => return None,
            (Some(first), _) if first.0 > start_ns => format!(
                "the first energy reading came {:.3} s after the start of the period",
                seconds(first.0 - start_ns)
            ),
            (_, Some(last)) if last.0 < end_ns => format!(
                "the last energy reading was {:.3} s before the end of the period, and no newer one came",
                seconds(end_ns - last.0)
            ),
            (None, _) => "there was no energy reading".to_owned(),
            _ => return None,
        };
        Some(reason)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    meter: Box<dyn Meter>,
    server: Option<ServerCpu>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        let interval = self.meter.interval();
        let mut due = Instant::now();
        let mut read_ns = now_ns();
        let mut first_error = None;
        loop {
            let before = now_ns();
            match self.meter.read() {
                Ok(reading) => {
                    read_ns = now_ns();
                    first_error = None;
                    let ns = before + (read_ns - before) / 2;
                    let mut state = self.shared.lock();
                    state.joules.0.extend(reading.joules.map(|joules| (ns, joules)));
                    state.devices.extend(reading.device.map(|device| (ns, device)));
                }
                Err(error) => {
                    // A single failure is tolerated. The first message is kept: later ones are often consequences.
                    let again = first_error.is_some();
                    let first = first_error.get_or_insert_with(|| format!("{error:#}"));
                    if again && u128::from(now_ns() - read_ns) > (interval * 3).as_nanos() {
                        self.shared.lock().failure = Some(first.clone());
                    }
                }
            }
            self.sample_cpu();
            self.shared.changed.notify_all();
            let mut state = self.shared.lock();
            due = (due + interval).max(Instant::now());
            while !state.stop && Instant::now() < due {
                let left = due.saturating_duration_since(Instant::now());
                state = self.shared.changed.wait_timeout(state, left).expect("see lock").0;
            }
            if state.stop || state.failure.is_some() {
                return;
            }
        }
    }

    fn sample_cpu(&mut self) {
        let server = self.server.as_mut().and_then(ServerCpu::read).map(|cpu| (now_ns(), cpu));
        if server.is_none() {
            // Its id may be reused by another process.
            self.server = None;
        }
        let client = (now_ns(), own_cpu_s());
        let mut state = self.shared.lock();
        state.server_cpu_s.0.extend(server);
        state.client_cpu_s.0.push_back(client);
    }
}

#[cfg(test)]
mod tests;
