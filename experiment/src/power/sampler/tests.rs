//! The sampler over a fake meter, and over real processes.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;

use anyhow::anyhow;

use super::*;
use crate::power::Reading;

type Script = Box<dyn FnMut(usize) -> Result<Reading> + Send>;

/// A fake meter that says what a closure says.
struct FakeMeter {
    script: Script,
    reads: Arc<AtomicUsize>,
    has_energy: bool,
    patience: Duration,
}

impl FakeMeter {
    fn new(script: impl FnMut(usize) -> Result<Reading> + Send + 'static) -> Self {
        let patience = Duration::from_secs(20);
        Self { script: Box::new(script), reads: Arc::default(), has_energy: true, patience }
    }

    fn start(self) -> Sampler {
        Sampler::start(Box::new(self), None)
    }
}

impl Meter for FakeMeter {
    fn source(&self) -> PowerSource {
        PowerSource { name: "fake".to_owned(), has_energy: self.has_energy, ..PowerSource::default() }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(5)
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn read(&mut self) -> Result<Reading> {
        (self.script)(self.reads.fetch_add(1, SeqCst))
    }
}

/// The first moment with samples of every kind before it.
fn first_ns(sampler: &Sampler) -> u64 {
    let state = sampler.shared.lock();
    state.client_cpu_s.0[0].0.max(state.joules.0[0].0)
}

fn wait_for(reads: &AtomicUsize, count: usize) {
    while reads.load(SeqCst) < count {
        sleep(Duration::from_millis(1));
    }
}

fn joules(joules: f64) -> Result<Reading> {
    Ok(Reading { joules: Some(joules), device: None })
}

#[test]
fn a_curve_is_interpolated_and_never_continued() {
    let mut curve = Curve(VecDeque::from([(100, 10.0), (200, 20.0), (400, 80.0)]));
    assert_eq!(curve.at(100), Some(10.0));
    assert_eq!(curve.at(150), Some(15.0));
    assert_eq!(curve.growth(150, 300), Some(35.0));
    assert_eq!(curve.growth(200, 400), Some(60.0));
    assert_eq!((curve.at(99), curve.at(401)), (None, None));
    curve.forget_before(300);
    assert_eq!(curve.growth(200, 300), Some(30.0));
    assert_eq!((curve.0.len(), curve.at(199)), (2, None));
    assert_eq!(Curve::default().at(1), None);
}

#[test]
fn energy_is_known_for_any_period_of_a_known_curve() {
    let meter = FakeMeter::new(|read| joules((read * read) as f64));
    let reads = meter.reads.clone();
    let sampler = meter.start();
    wait_for(&reads, 8);
    let read: Vec<u64> = sampler.shared.lock().joules.0.iter().map(|point| point.0).collect();
    let middle = |index: usize| read[index] + (read[index + 1] - read[index]) / 2;
    for (start, end, expected) in [(read[1], read[5], 24.0), (middle(2), middle(4), 20.5 - 6.5)] {
        let used = sampler.between(start, end).unwrap();
        assert!((used.seconds - (end - start) as f64 / 1e9).abs() < 1e-12, "{used:?}");
        assert!((used.energy_j.unwrap() - expected).abs() < 1e-3, "expected {expected} J: {used:?}");
        assert_eq!(used.average_power_w, used.energy_j.map(|joules| joules / used.seconds));
        assert_eq!((used.server_cpu_s, &used.energy_missing), (None, &None));
        assert!(used.client_cpu_s >= 0.0 && used.device.is_none());
    }
    drop(sampler);
    let last = reads.load(SeqCst);
    sleep(Duration::from_millis(30));
    assert_eq!(reads.load(SeqCst), last, "nobody reads any more");
}

#[test]
fn it_waits_for_energy_that_comes_late() {
    // Renewed at each tenth reading only, as the metrics endpoint does.
    let sampler = FakeMeter::new(|read| match read % 10 {
        9 => joules(read as f64),
        _ => Ok(Reading::default()),
    })
    .start();
    let start = first_ns(&sampler);
    let used = sampler.between(start, now_ns() + 1_000_000).unwrap();
    assert!(used.energy_j.unwrap() > 0.0, "{used:?}");
}

#[test]
fn energy_that_does_not_come_is_absent_with_the_reason() {
    let meter = FakeMeter::new(|read| if read == 0 { joules(1.0) } else { Ok(Reading::default()) });
    let sampler = FakeMeter { patience: Duration::from_millis(200), ..meter }.start();
    let start = now_ns();
    let used = sampler.between(start, start + 1_000_000).unwrap();
    assert_eq!((used.energy_j, used.average_power_w), (None, None));
    assert!(used.energy_missing.unwrap().contains("no newer one came"));

    let never = FakeMeter::new(|_| Ok(Reading::default()));
    let sampler = FakeMeter { patience: Duration::from_millis(200), ..never }.start();
    let used = sampler.between(now_ns(), now_ns() + 1_000_000).unwrap();
    assert!(used.energy_j.is_none() && used.energy_missing.unwrap().contains("there was no energy reading"));
}

#[test]
fn a_source_without_energy_has_none_and_no_excuse() {
    let meter = FakeMeter::new(|_| Ok(Reading::default()));
    let sampler = FakeMeter { has_energy: false, ..meter }.start();
    let start = now_ns();
    let used = sampler.between(start, start + 1_000_000).unwrap();
    assert!(used.energy_j.is_none() && used.energy_missing.is_none());
}

#[test]
fn a_reading_that_misses_once_is_forgiven() {
    let meter = FakeMeter::new(|read| if read == 2 { Err(anyhow!("hiccup")) } else { joules(read as f64) });
    let reads = meter.reads.clone();
    let sampler = meter.start();
    let start = first_ns(&sampler);
    wait_for(&reads, 6);
    assert!(sampler.between(start, now_ns()).unwrap().energy_j.unwrap() > 2.0);
}

#[test]
fn a_meter_that_fails_says_so_in_its_first_words() {
    let mut gone = false;
    let meter = FakeMeter::new(move |read| match read {
        0..5 => joules(read as f64),
        _ if std::mem::replace(&mut gone, true) => Err(anyhow!("connection refused")),
        _ => Err(anyhow!("the endpoint vanished")),
    });
    let sampler = meter.start();
    let error = sampler.between(first_ns(&sampler), now_ns() + 50_000_000).unwrap_err().to_string();
    assert_eq!(error, "the power source fake failed: the endpoint vanished");
    let read: Vec<u64> = sampler.shared.lock().joules.0.iter().map(|point| point.0).collect();
    assert_eq!(sampler.between(read[1], read[4]).unwrap().energy_j, Some(3.0), "what was read in full stays");
}

#[test]
fn the_devices_of_the_stretch_are_summed_up() {
    let meter = FakeMeter::new(|read| {
        let throttle_reasons = if read % 2 == 0 { vec!["sw power cap".to_owned()] } else { Vec::new() };
        let device =
            DeviceSample { temperature_c: Some(read as f64), throttle_reasons, ..Default::default() };
        Ok(Reading { joules: Some(read as f64), device: Some(device) })
    });
    let reads = meter.reads.clone();
    let sampler = meter.start();
    wait_for(&reads, 8);
    let read: Vec<u64> = sampler.shared.lock().devices.iter().map(|sample| sample.0).collect();
    let device = sampler.between(read[2], read[5]).unwrap().device.unwrap();
    assert_eq!((device.temperature_mean_c, device.temperature_max_c), (Some(3.5), Some(5.0)));
    assert_eq!(device.throttle_reasons["sw power cap"], 0.5);
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_stays() {
    let meter = FakeMeter::new(|read| joules(read as f64));
    let reads = meter.reads.clone();
    let sampler = meter.start();
    wait_for(&reads, 12);
    let ns = |index: usize| sampler.shared.lock().client_cpu_s.0[index].0;
    let (first, from, to) = (ns(0), ns(8), ns(10));
    let before = sampler.between(from, to).unwrap();
    sampler.forget_before(from);
    assert!(sampler.shared.lock().client_cpu_s.0[0].0 > first);
    assert_eq!(sampler.between(from, to).unwrap().energy_j, before.energy_j);
    assert!(sampler.between(first, to).unwrap_err().to_string().contains("no samples"));
    assert!(sampler.between(to, from).unwrap_err().to_string().contains("must end after"));
}

#[test]
fn cpu_time_is_sampled_whatever_the_meter_until_the_process_is_gone() {
    let mut server = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let meter = FakeMeter::new(|read| joules(read as f64));
    let sampler = Sampler::start(Box::new(meter), Some(server.id()));
    let start = now_ns();
    sleep(Duration::from_millis(600));
    let end = now_ns();
    let used = sampler.between(start, end).unwrap();
    let cpu = used.server_cpu_s.unwrap();
    assert!(cpu > 0.2 * used.seconds && cpu < 1.5 * used.seconds, "{used:?}");

    server.kill().unwrap();
    server.wait().unwrap();
    let after = sampler.between(now_ns(), now_ns() + 20_000_000).unwrap();
    assert!(after.server_cpu_s.is_none() && after.energy_j.is_some(), "{after:?}");
    assert_eq!(sampler.between(start, end).unwrap().server_cpu_s, Some(cpu), "what was read stays");
}
