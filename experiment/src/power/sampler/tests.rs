//! The sampler over made-up devices, and over real processes.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;

use power_meter::{Also, Error, Limits, Reading};

use super::*;

type Script = Box<dyn FnMut(usize) -> power_meter::Result<Reading> + Send>;

/// A made-up device that says what a closure says.
struct MadeUp {
    name: &'static str,
    script: Script,
    reads: Arc<AtomicUsize>,
    has_counter: bool,
}

impl MadeUp {
    fn new(script: impl FnMut(usize) -> power_meter::Result<Reading> + Send + 'static) -> Self {
        Self { name: "made-up", script: Box::new(script), reads: Arc::default(), has_counter: true }
    }
}

impl Device for MadeUp {
    fn name(&self) -> &str {
        self.name
    }

    fn limits(&self) -> Limits {
        Limits {
            has_counter: self.has_counter,
            range_uj: None,
            tick_ns: 20_000_000,
            most_w: 5000.0,
            standstill_ns: 300_000_000,
            blind_standstill_ns: 500_000_000,
        }
    }

    fn read(&mut self, _: Also) -> power_meter::Result<Reading> {
        (self.script)(self.reads.fetch_add(1, SeqCst))
    }
}

fn start(devices: Vec<MadeUp>) -> Sampler {
    start_with(devices, Duration::from_secs(20), None)
}

fn start_with(devices: Vec<MadeUp>, patience: Duration, server_pid: Option<u32>) -> Sampler {
    let devices = devices.into_iter().map(|device| Box::new(device) as Box<dyn Device>).collect();
    Sampler::start(Meter::of("made-up", String::new(), devices, patience), server_pid)
}

/// The first moment with samples of every kind before it.
fn first_ns(sampler: &Sampler) -> u64 {
    drop(sampler.wait_for(now_ns()));
    now_ns()
}

fn wait_for(reads: &AtomicUsize, count: usize) {
    while reads.load(SeqCst) < count {
        sleep(Duration::from_millis(1));
    }
}

fn reading(counter_uj: Option<u64>, watts: Option<f64>) -> Reading {
    let ns = now_ns();
    Reading { begin_ns: ns, end_ns: ns, counter_uj, power_ns: ns, average_w: watts, ..Reading::default() }
}

/// A counter that moves all the time, at a power.
fn counting(watts: u64) -> power_meter::Result<Reading> {
    Ok(reading(Some(now_ns() / 1000 * watts), Some(watts as f64)))
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
fn energy_is_known_for_any_period_of_counted_and_integrated_devices_together() {
    let integrated = MadeUp { has_counter: false, ..MadeUp::new(|_| Ok(reading(None, Some(50.0)))) };
    let devices = vec![MadeUp::new(|_| counting(100)), integrated];
    let reads = devices[0].reads.clone();
    let sampler = start(devices);
    let from = first_ns(&sampler);
    sleep(Duration::from_millis(1000));
    let used = sampler.between(from, now_ns()).unwrap();
    let watts = used.average_power_w.unwrap();
    // A reading that is held up on a busy machine moves a tick by some milliseconds.
    assert!((watts - 150.0).abs() < 7.5, "{watts} W: {used:?}");
    assert!(used.energy_error_j.unwrap() < 0.2 * used.energy_j.unwrap(), "{used:?}");
    assert_eq!((used.server_cpu_s, &used.energy_missing), (None, &None));
    assert!(used.client_cpu_s >= 0.0 && used.device.is_none() && used.energy_notices.is_empty());
    let learnt = sampler.learnt();
    assert!(learnt[0].contains("energy from its counter") && learnt[1].contains("integrated"), "{learnt:?}");
    drop(sampler);
    let last = reads.load(SeqCst);
    sleep(Duration::from_millis(60));
    assert_eq!(reads.load(SeqCst), last, "nobody reads any more");
}

#[test]
fn power_that_differs_between_parts_shows_in_its_error() {
    let changes_ns = now_ns() + 600_000_000;
    // 100 W, and from then on 300 W.
    let sampler = start(vec![MadeUp::new(move |_| {
        let now = now_ns();
        Ok(reading(Some((now * 100 + now.saturating_sub(changes_ns) * 200) / 1000), None))
    })]);
    let from = first_ns(&sampler);
    assert!(from < changes_ns, "this machine is too slow for the test");
    sleep(Duration::from_nanos(changes_ns + 500_000_000 - now_ns()));
    let to = now_ns();
    let differing = sampler.over(&[from, changes_ns, to]).unwrap();
    // Two values 200 W apart: a standard deviation of 141 W, times 12.7, over the root of 2.
    let spread = differing.average_power_spread_w.unwrap();
    assert!((1100.0..1400.0).contains(&spread), "{spread} W: {differing:?}");
    assert!(differing.average_power_error_w.unwrap() >= spread, "{differing:?}");
    let alone = sampler.over(&[changes_ns + 100_000_000, to]).unwrap();
    assert_eq!(alone.average_power_spread_w, None, "one part has no spread");
    let edges = alone.energy_error_j.unwrap() / alone.seconds;
    assert!((alone.average_power_error_w.unwrap() - edges).abs() < 1e-9, "{alone:?}");
    assert!(sampler.over(&[]).is_err());
}

#[test]
fn it_waits_for_energy_that_comes_late() {
    // Renewed at each tenth reading only, as the metrics endpoint does.
    let mut last = now_ns() / 1000 * 100;
    let sampler = start(vec![MadeUp::new(move |read| {
        if read % 10 == 9 {
            last = now_ns() / 1000 * 100;
        }
        Ok(reading(Some(last), None))
    })]);
    let start = first_ns(&sampler);
    let used = sampler.between(start, now_ns() + 1_000_000).unwrap();
    assert!(used.energy_j.unwrap() > 0.0, "{used:?}");
}

#[test]
fn energy_that_does_not_come_is_absent_with_the_reason() {
    let stuck = MadeUp::new(|_| Ok(reading(Some(7), None)));
    let devices = vec![MadeUp::new(|_| counting(100)), MadeUp { name: "stuck", ..stuck }];
    let sampler = start_with(devices, Duration::from_millis(200), None);
    let begin = now_ns();
    let used = sampler.between(begin, begin + 1_000_000).unwrap();
    assert_eq!((used.energy_j, used.average_power_w, used.energy_error_j), (None, None, None));
    let missing = used.energy_missing.unwrap();
    assert!(missing.starts_with("stuck: "), "{missing}");
}

#[test]
fn a_counter_that_is_not_believed_reaches_the_reader() {
    let sampler = start(vec![MadeUp::new(|_| Ok(reading(Some(77_000_000), Some(100.0))))]);
    let begin = first_ns(&sampler);
    let used = sampler.between(begin, begin + 400_000_000).unwrap();
    let watts = used.average_power_w.unwrap();
    assert!((watts - 100.0).abs() < 0.1, "{watts} W");
    let [notice] = &used.energy_notices[..] else { panic!("{used:?}") };
    assert!(notice.contains("stood still at 77.000 J") && notice.contains("100.0 W"), "{notice}");
}

#[test]
fn a_source_without_energy_has_none_and_no_excuse() {
    let sampler = Sampler::start(Meter::without_energy("none", "", Vec::new()), None);
    let start = now_ns();
    let used = sampler.between(start, start + 1_000_000).unwrap();
    assert!(used.energy_j.is_none() && used.energy_missing.is_none());
}

#[test]
fn a_device_that_fails_is_missing_in_its_first_words_and_what_was_read_stays() {
    let fails = Arc::new(AtomicUsize::new(0));
    let failing = fails.clone();
    let device = MadeUp::new(move |_| match failing.load(SeqCst) {
        0 => counting(100),
        1 => {
            failing.store(2, SeqCst);
            Err(Error::new("the endpoint vanished"))
        }
        _ => Err(Error::new("connection refused")),
    });
    let sampler = start(vec![device]);
    let begin = first_ns(&sampler);
    sleep(Duration::from_millis(300));
    let end = now_ns();
    drop(sampler.wait_for(end));
    fails.store(1, SeqCst);
    let used = sampler.between(begin, now_ns() + 50_000_000).unwrap();
    let missing = used.energy_missing.unwrap();
    assert!(used.energy_j.is_none() && missing.starts_with("made-up: the endpoint vanished"), "{missing}");
    assert!(sampler.between(begin, end).unwrap().energy_j.unwrap() > 20.0);
}

#[test]
fn the_devices_of_the_stretch_are_summed_up() {
    let mut temperature = 0.0;
    let sampler = start(vec![MadeUp::new(move |_| {
        temperature += 1.0;
        let state = DeviceSample { temperature_c: Some(temperature), ..DeviceSample::default() };
        counting(100).map(|reading| Reading { state: Some(state), ..reading })
    })]);
    let begin = first_ns(&sampler);
    sleep(Duration::from_millis(100));
    let device = sampler.between(begin, now_ns()).unwrap().device.unwrap();
    assert!(device.temperature_max_c > device.temperature_mean_c && device.temperature_mean_c > Some(1.0));
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_stays() {
    let device = MadeUp::new(|_| counting(100));
    let reads = device.reads.clone();
    let sampler = start(vec![device]);
    let first = first_ns(&sampler);
    wait_for(&reads, 60);
    let from = first_ns(&sampler);
    sleep(Duration::from_millis(100));
    let to = now_ns();
    let before = sampler.between(from, to).unwrap();
    sampler.forget_before(from);
    assert_eq!(sampler.between(from, to).unwrap().energy_j, before.energy_j);
    assert!(sampler.between(first, to).unwrap_err().to_string().contains("no samples"));
    assert!(sampler.between(to, from).unwrap_err().to_string().contains("must end after"));
}

#[test]
fn cpu_time_is_sampled_whatever_the_meter_until_the_process_is_gone() {
    let mut server = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let sampler =
        start_with(vec![MadeUp::new(|_| counting(100))], Duration::from_secs(20), Some(server.id()));
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
