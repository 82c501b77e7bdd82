//! Loads against a stub of a server.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Instant;

use super::stub::{Answer, serve};
use super::*;
use crate::arrivals::constant;
use crate::record::Window;

const GOOD: &str = r#"{"model_name":"m","outputs":[]}"#;

fn json(status: u16, body: &str) -> Answer {
    Answer::response(status, "", body.as_bytes())
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(super) fn request(model: &str) -> PreparedRequest {
    PreparedRequest::new(model, None, &[], &[]).unwrap()
}

fn workload(address: SocketAddr, pacing: Pacing) -> Workload {
    let rule = WindowRule {
        warm_up_ns: 0,
        min_ns: u64::MAX,
        min_requests: 0,
        late_ns: 10_000_000,
        keep_each: false,
    };
    let host = address.to_string();
    let (requests, expected) = (vec![request("m")], Vec::new().into());
    Workload { address, host, requests, draws: 1, expected, pacing, rule, timeout: ms(20_000) }
}

pub(super) fn closed(address: SocketAddr, concurrency: usize) -> Workload {
    workload(address, Pacing::Closed { concurrency })
}

pub(super) fn open(
    address: SocketAddr,
    arrivals: impl Iterator<Item = Duration> + Send + 'static,
    max_connections: usize,
) -> Workload {
    workload(address, Pacing::Open { arrivals: Box::new(arrivals), max_connections })
}

/// The windows and the totals of a load that is stopped after a while, if it doesn't end before.
pub(super) fn run(workload: Workload, length: Duration) -> (Vec<Window>, Totals) {
    let running = start(workload).unwrap();
    let mut windows = Vec::new();
    let mut take = |event| match event {
        Event::Opened => None,
        Event::Window(window) => {
            windows.push(*window);
            None
        }
        Event::Ended(totals) => Some(*totals),
    };
    let stop = Instant::now() + length;
    let mut totals = None;
    while totals.is_none() && Instant::now() < stop {
        let left = stop.saturating_duration_since(Instant::now());
        totals = running.events().recv_timeout(left).ok().and_then(&mut take);
    }
    running.stop();
    while totals.is_none() {
        totals = take(running.events().recv().expect("the load ends with totals"));
    }
    assert!(running.events().recv().is_err(), "an event after the end");
    (windows, totals.unwrap())
}

pub(super) fn failures(totals: &Totals) -> Vec<(&str, u64, &str)> {
    totals
        .all
        .failures
        .iter()
        .map(|(kind, (count, message))| (kind.as_str(), *count, message.as_str()))
        .collect()
}

#[test]
fn closed_loop_delivers_every_outcome() {
    let (answered, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(BTreeSet::new())));
    let (counter, seen) = (answered.clone(), connections.clone());
    let address = serve(move |connection, _, body| {
        assert!(!body.is_empty());
        counter.fetch_add(1, Ordering::SeqCst);
        seen.lock().unwrap().insert(connection);
        json(200, GOOD)
    });
    let mut workload = closed(address, 4);
    workload.rule =
        WindowRule { warm_up_ns: 0, min_ns: 50_000_000, min_requests: 20, late_ns: 0, keep_each: false };
    let (windows, totals) = run(workload, ms(400));
    assert_eq!(totals.all.latency.count() as usize, answered.load(Ordering::SeqCst));
    assert_eq!(failures(&totals), []);
    assert_eq!(connections.lock().unwrap().len(), 4);
    assert!(!windows.is_empty());
    let mut sum = Window::default();
    for window in &windows {
        assert!(window.end_ns - window.start_ns >= 50_000_000 && window.latency.count() >= 20);
        sum.add(window);
    }
    sum.add(totals.rest.as_ref().unwrap());
    assert_eq!(sum.latency.histogram, totals.all.latency.histogram);
    assert_eq!((sum.start_ns, sum.end_ns), (totals.start_ns, totals.all.end_ns));
    // A closed loop has no schedule.
    assert_eq!((totals.all.late, totals.all.scheduled, totals.unsent), (0, 0, 0));
}

#[test]
fn server_values_arrive() {
    let address = serve(|_, _, _| {
        json(200, r#"{"parameters":{"compute_latency_ns":900,"executed_batch_size":8},"outputs":[]}"#)
    });
    let (_, totals) = run(closed(address, 2), ms(100));
    assert_eq!(totals.server_values_from, Some(ServerValuesFrom::Parameters));
    let count = totals.all.latency.count();
    assert_eq!(totals.all.executed_batch_sizes.iter().collect::<Vec<_>>(), [(&8, &count)]);
    assert_eq!(totals.all.server_times[0].mean(), Some(900.0));
}

#[test]
fn requests_may_differ_between_workers() {
    let bodies = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = bodies.clone();
    let address = serve(move |connection, _, body| {
        seen.lock().unwrap().insert((connection, body.to_vec()));
        json(200, GOOD)
    });
    let prepared = |name: &str| {
        let output = Output { name: name.to_owned(), shared: None };
        PreparedRequest::new("m", None, &[], &[output]).unwrap()
    };
    let mut workload = closed(address, 2);
    workload.requests = vec![prepared("a"), prepared("b")];
    run(workload, ms(100));
    let bodies = bodies.lock().unwrap();
    let different: BTreeSet<_> = bodies.iter().map(|(_, body)| body).collect();
    assert_eq!((bodies.len(), different.len()), (2, 2));

    for (concurrency, expected) in [(3, "2 prepared requests for up to 3"), (0, "expected 1 or more")] {
        let mut workload = closed(address, concurrency);
        workload.requests = vec![prepared("a"), prepared("b")];
        let message = format!("{:#}", start(workload).unwrap_err());
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn stop_awaits_what_is_in_flight() {
    let address = serve(|_, _, _| {
        sleep(ms(300));
        json(200, GOOD)
    });
    let (_, totals) = run(closed(address, 3), ms(100));
    assert_eq!((totals.all.latency.count(), totals.all.failed()), (3, 0));
    assert!(totals.all.latency.min_ns >= 300_000_000);
}

#[test]
fn drop_gives_up_what_is_in_flight() {
    let address = serve(|_, _, _| {
        sleep(ms(60_000));
        json(200, GOOD)
    });
    let mut workload = closed(address, 1);
    workload.timeout = ms(60_000);
    let begin = Instant::now();
    let running = start(workload).unwrap();
    sleep(ms(50));
    drop(running);
    assert!(begin.elapsed() < ms(30_000));
}

#[test]
fn closed_keep_alive_is_no_failure() {
    // Each connection ends with the arrival of its second request.
    let address = serve(|_, number, _| match number {
        0 => json(200, GOOD),
        _ => Answer { bytes: Vec::new(), close: true },
    });
    let (_, totals) = run(closed(address, 1), ms(200));
    assert_eq!(failures(&totals), []);
    assert!(totals.all.latency.count() > 2);

    // Each connection ends with its first response, with or without saying so.
    for header in ["", "Connection: close\r\n"] {
        let address = serve(move |_, number, _| {
            assert_eq!(number, 0);
            Answer { close: true, ..Answer::response(200, header, GOOD.as_bytes()) }
        });
        let (_, totals) = run(closed(address, 2), ms(200));
        assert_eq!(failures(&totals), []);
        assert!(totals.all.latency.count() > 2);
    }
}

#[test]
fn closed_connections_are_failures_where_they_should_be() {
    // The very first request of a connection; a later one whose answer has begun.
    for (whole, begun) in
        [(0, ""), (1, "HTTP/1.1 200 OK\r\nContent-"), (1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")]
    {
        let address = serve(move |_, number, _| match number < whole {
            true => json(200, GOOD),
            false => Answer { bytes: begun.as_bytes().to_vec(), close: true },
        });
        let (_, totals) = run(closed(address, 1), ms(200));
        let failures = failures(&totals);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].0, "connection closed");
        assert!(failures[0].1 <= 30, "it keeps a core busy: {failures:?}");
        assert_eq!(totals.all.latency.count() > 0, whole > 0);
    }
}

#[test]
fn a_refused_connection_is_reported_and_keeps_no_core_busy() {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (_, totals) = run(closed(address, 2), ms(400));
    let failures = failures(&totals);
    assert_eq!(failures[0].0, "connection refused");
    assert!(failures[0].2.contains(&address.to_string()), "{failures:?}");
    assert!((2..=40).contains(&failures[0].1), "{failures:?}");

    // An open loop goes on by its schedule, and ends.
    let (_, totals) = run(open(address, constant(1000.0).take(20), 4), ms(20_000));
    assert_eq!((totals.all.scheduled, totals.all.failed() + totals.unsent), (20, 20));
}

#[test]
fn server_that_comes_back_is_found() {
    let address = serve(|connection, _, _| match connection {
        0 => Answer { bytes: Vec::new(), close: true },
        _ => json(200, GOOD),
    });
    let (_, totals) = run(closed(address, 1), ms(300));
    assert_eq!(totals.all.failed(), 1);
    assert!(totals.all.latency.count() > 1);
}

#[test]
fn timeout_is_a_failure() {
    let address = serve(|connection, _, _| {
        sleep(if connection == 0 { ms(10_000) } else { ms(0) });
        json(200, GOOD)
    });
    let mut workload = closed(address, 1);
    workload.timeout = ms(500);
    let (_, totals) = run(workload, ms(1000));
    assert_eq!(failures(&totals), [("timeout", 1, "no response within 0.5 s")]);
    // It goes on with another connection.
    assert!(totals.all.latency.count() > 0);
}

#[test]
fn malformed_responses_and_errors_are_reported() {
    let answers: [(Vec<u8>, &str, &str); 5] = [
        (json(503, r#"{"error":"no such model"}"#).bytes, "HTTP 503", "no such model"),
        (json(404, "<p>nothing here").bytes, "HTTP 404", "<p>nothing here"),
        (json(200, "hello").bytes, "bad response", "not an inference response"),
        (b"SSH-2.0-OpenSSH\r\n\r\n".to_vec(), "bad response", "invalid HTTP version"),
        (
            Answer::response(200, "Inference-Header-Content-Length: x\r\n", b"{}").bytes,
            "bad response",
            "expected a number",
        ),
    ];
    for (bytes, kind, message) in answers {
        let address = serve(move |_, _, _| Answer { bytes: bytes.clone(), close: false });
        let (_, totals) = run(closed(address, 1), ms(100));
        let failures = failures(&totals);
        assert_eq!((failures.len(), failures[0].0), (1, kind), "{failures:?}");
        assert!(failures[0].2.contains(message), "{failures:?}");
        assert_eq!(totals.all.latency.count(), 0);
    }
}

#[test]
fn open_loop_counts_from_when_requests_were_due() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let address = serve(move |_, _, _| {
        // One stall. A closed loop, or one that counted from sending, would see it once.
        if counter.fetch_add(1, Ordering::SeqCst) == 50 {
            sleep(ms(300));
        }
        json(200, GOOD)
    });
    let (_, totals) = run(open(address, constant(200.0).take(200), 1), ms(60_000));
    let latency = &totals.all.latency;
    assert_eq!((latency.count(), totals.all.scheduled, totals.unsent), (200, 200, 0));
    assert_eq!(requests.load(Ordering::SeqCst), 200);
    assert!(latency.max_ns >= 300_000_000);
    // 60 were due in the stall, half of them in its first half.
    let slow = latency.histogram.count_between(150_000_000, u64::MAX);
    assert!(slow >= 25, "{slow} slow requests");
    assert!(totals.all.late >= 50, "{} late", totals.all.late);
    assert!(totals.all.max_delay_ns >= 250_000_000);
    assert!(totals.all.seconds() >= 1.0);
}

#[test]
fn open_loop_counts_what_it_never_sent() {
    let address = serve(|_, _, _| {
        sleep(ms(200));
        json(200, GOOD)
    });
    let (_, totals) = run(open(address, constant(1000.0), 2), ms(500));
    assert_eq!(totals.all.latency.count() + totals.unsent, totals.all.scheduled);
    assert!((2..=8).contains(&totals.all.latency.count()), "{}", totals.all.latency.count());
    assert!(totals.unsent >= 300, "{} unsent", totals.unsent);
}

#[test]
fn open_loop_respects_its_connections() {
    let (active, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (active.clone(), most.clone());
    let address = serve(move |connection, _, _| {
        highest.fetch_max(connection + 1, Ordering::SeqCst);
        now.fetch_add(1, Ordering::SeqCst);
        sleep(ms(50));
        now.fetch_sub(1, Ordering::SeqCst);
        json(200, GOOD)
    });
    let (_, totals) = run(open(address, constant(1000.0).take(100), 5), ms(60_000));
    assert_eq!((totals.all.latency.count(), totals.all.failed()), (100, 0));
    assert_eq!(most.load(Ordering::SeqCst), 5);
    assert_eq!(active.load(Ordering::SeqCst), 0);
}
