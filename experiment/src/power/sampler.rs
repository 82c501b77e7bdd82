//! Reads devices and the CPU clocks in the background, and computes the consumption between two times.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use power_meter::cpu_time::{ProcessCpu, own_cpu_s};
use power_meter::{Books, Device, Missing, State as DeviceSample};

use super::device;
use super::meter::{self, Meter};
use crate::clock::{now_ns, seconds};
use crate::results::{Consumption, PowerSource};
use crate::uncertainty;

/// Time between two samples of CPU time, and between two rounds where there is no device.
const CPU_EVERY_NS: u64 = 50_000_000;

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
    books: Books,
    server_cpu_s: Curve,
    client_cpu_s: Curve,
    devices: VecDeque<(u64, DeviceSample)>,
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
    pub fn start(meter: Meter, server_pid: Option<u32>) -> Self {
        let Meter { source, devices, patience } = meter;
        let patience_ns = patience.as_nanos() as u64;
        let shared = Arc::new(Shared::default());
        shared.lock().books = Books::new(&devices);
        let server = server_pid.map(ProcessCpu::new);
        let work = Work { devices, server, sampled_cpu_ns: None, shared: shared.clone() };
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

    /// What readings have shown of each device so far.
    pub fn learnt(&self) -> Vec<String> {
        meter::learnt(&self.shared.lock().books)
    }

    /// The consumption from one time to another, on [`now_ns`]'s clock.
    ///
    /// Waits for samples at or after the end, at most for the meter's patience. Energy and CPU time are interpolated
    /// between the samples around each edge and never extrapolated: outside the samples they are absent, for energy with
    /// the reason. So is the energy of a period in which that of one device is unknown.
    ///
    /// # Errors
    /// The period is empty or begins before the sampler.
    pub fn between(&self, start_ns: u64, end_ns: u64) -> Result<Consumption> {
        ensure!(start_ns < end_ns, "a period must end after it starts: {start_ns} ns to {end_ns} ns");
        let state = self.wait_for(end_ns);
        let energy = self.source.has_energy.then(|| state.books.energy(start_ns, end_ns));
        let (energy, energy_missing) = match energy {
            Some(Ok(energy)) => (Some(energy), None),
            Some(Err(Missing(reason))) => (None, Some(reason)),
            None => (None, None),
        };
        let energy_j = energy.map(|energy| energy.uj as f64 / 1e6);
        let client_cpu_s = state.client_cpu_s.growth(start_ns, end_ns).with_context(|| {
            format!("no samples from {start_ns} ns to {end_ns} ns: the sampler started later, or is stuck")
        })?;
        let seconds = seconds(end_ns - start_ns);
        let within = state.devices.iter().filter(|(ns, _)| (start_ns..=end_ns).contains(ns));
        Ok(Consumption {
            seconds,
            energy_j,
            average_power_w: energy_j.map(|joules| joules / seconds),
            average_power_error_w: energy.map(|energy| energy.error_uj as f64 / 1e6 / seconds),
            average_power_spread_w: None,
            energy_error_j: energy.map(|energy| energy.error_uj as f64 / 1e6),
            energy_missing,
            energy_notices: state.books.notices(end_ns).map(|notice| notice.text.clone()).collect(),
            server_cpu_s: state.server_cpu_s.growth(start_ns, end_ns),
            client_cpu_s,
            device: device::summarise(within.map(|(_, sample)| sample)),
        })
    }

    /// The consumption from the first of these times to the last, with the spread of power over the parts between them.
    ///
    /// # Errors
    /// As [`Sampler::between`], or there are fewer than two times.
    pub fn over(&self, edges_ns: &[u64]) -> Result<Consumption> {
        let (Some(first), Some(last)) = (edges_ns.first(), edges_ns.last()) else {
            bail!("a period needs a beginning and an end");
        };
        let mut whole = self.between(*first, *last)?;
        let mut powers = Vec::new();
        for part in edges_ns.windows(2) {
            powers.extend(self.between(part[0], part[1])?.average_power_w);
        }
        whole.average_power_spread_w = uncertainty::of_mean(&powers);
        let errors = [whole.average_power_error_w, whole.average_power_spread_w];
        whole.average_power_error_w =
            whole.average_power_w.map(|_| uncertainty::together(errors.into_iter().flatten()));
        Ok(whole)
    }

    /// Drops the samples that no period from a time on needs.
    pub fn forget_before(&self, ns: u64) {
        let mut state = self.shared.lock();
        state.books.forget_before(ns);
        state.server_cpu_s.forget_before(ns);
        state.client_cpu_s.forget_before(ns);
        let old = state.devices.partition_point(|sample| sample.0 < ns);
        state.devices.drain(..old);
    }

    /// Waits for all samples at or after a time.
    fn wait_for(&self, ns: u64) -> MutexGuard<'_, State> {
        self.shared.wait(ns.max(now_ns()).saturating_add(self.patience_ns), |state| {
            let energy = !self.source.has_energy || state.books.reach(ns);
            energy && state.client_cpu_s.reaches(ns)
        })
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
    devices: Vec<Box<dyn Device>>,
    server: Option<ProcessCpu>,
    sampled_cpu_ns: Option<u64>,
    shared: Arc<Shared>,
}

impl Work {
    fn run(mut self) {
        let mut due = Instant::now();
        loop {
            let interval_ns = self.read_devices();
            if self.sampled_cpu_ns.is_none_or(|sampled| now_ns() - sampled >= CPU_EVERY_NS) {
                self.sample_cpu();
            }
            self.shared.changed.notify_all();
            let mut state = self.shared.lock();
            due = (due + Duration::from_nanos(interval_ns)).max(Instant::now());
            while !state.stop && Instant::now() < due {
                let left = due.saturating_duration_since(Instant::now());
                state = self.shared.changed.wait_timeout(state, left).expect("see lock").0;
            }
            if state.stop {
                return;
            }
        }
    }

    /// Returns the time from this round to the next.
    fn read_devices(&mut self) -> u64 {
        let began_ns = now_ns();
        let mut merged: Option<DeviceSample> = None;
        for (index, device) in self.devices.iter_mut().enumerate() {
            let also = self.shared.lock().books.accounts[index].also(now_ns(), true);
            // Takes milliseconds, during which nobody waits for the samples.
            let mut reading = device.read(also);
            if let Some(state) = reading.as_mut().ok().and_then(|reading| reading.state.take()) {
                merged = Some(match merged {
                    Some(others) => device::both(others, state),
                    None => state,
                });
            }
            self.shared.lock().books.accounts[index].take(reading, now_ns());
        }
        let mut state = self.shared.lock();
        let ns = began_ns + (now_ns() - began_ns) / 2;
        state.devices.extend(merged.map(|merged| (ns, merged)));
        match self.devices.is_empty() {
            true => CPU_EVERY_NS,
            false => state.books.interval_ns(),
        }
    }

    fn sample_cpu(&mut self) {
        self.sampled_cpu_ns = Some(now_ns());
        let server = self.server.as_mut().and_then(ProcessCpu::read).map(|cpu| (now_ns(), cpu));
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
