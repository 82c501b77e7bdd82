//! What adaptive batching promises: nobody waits in vain, timeouts and cancellations free their places, a model that goes
//! keeps nobody waiting.
//!
//! The tests of the scheduler (`backend/batching/tests/promises.rs`) show the same in simulated time, and exactly. Here
//! other processes share the machine: limits are wide, and what a stall can spoil has three attempts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::adaptive::{BUSY, adaptive_config, infer_add_one, slow_adaptive_config, while_busy};
use crate::adaptive_metrics::gauges;
use crate::faults::unload_and_wait;
use crate::support::*;

const MS: Duration = Duration::from_millis(1);

fn with_target(config: ModelConfig, target: Duration) -> ModelConfig {
    config.parameter("latency_target_ms", &target.as_millis().to_string())
}

/// Sends a row of `add_one`; the time that it was in the server.
fn latency(server: &Server, model: &str, number: usize) -> Duration {
    infer_add_one(server, model, number, 1).request_latency()
}

fn median(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() / 2]
}

#[test]
fn a_client_alone_does_not_wait_for_others() {
    let server = prompt_server();
    let target = 2_000 * MS;
    in_one_of_three(|attempt| {
        let models = ["alone_with_target", "alone_without"].map(|name| format!("{name}_{attempt}"));
        server.load(&with_target(adaptive_config(&models[0], 16), target), SavedModel::Small("add_one"));
        server.load(&adaptive_config(&models[1], 16), SavedModel::Small("add_one"));
        let first: Vec<Duration> = (0..10).map(|number| latency(&server, &models[0], number)).collect();
        check(first.iter().all(|latency| *latency < target / 10), || format!("the first ten: {first:?}"))?;
        // In turn, so that the machine is the same for both.
        let later: Vec<[Duration; 2]> =
            (0..200).map(|number| [0, 1].map(|of: usize| latency(&server, &models[of], number))).collect();
        let [with, without] = [0, 1].map(|of| median(later.iter().map(|pair| pair[of]).collect()));
        println!("the first ten {first:?}; then a median of {with:?} with a target, {without:?} without");
        check(with < 3 * without, || format!("a median of {with:?} with a target, {without:?} without"))
    });
}

#[test]
fn a_few_clients_are_in_time() {
    let server = prompt_server();
    let count = 400;
    for target in [20 * MS, 200 * MS, 2_000 * MS] {
        for clients in 1..=4 {
            in_one_of_three(|attempt| {
                let model = format!("few_{}_{clients}_{attempt}", target.as_millis());
                server.load(&with_target(adaptive_config(&model, 16), target), SavedModel::Small("add_one"));
                let begun = Instant::now();
                // Where each waits for the target there is no need to see all of them do so.
                let is_time = || begun.elapsed() < 20_000 * MS;
                let latencies = in_parallel(clients, count, |number| {
                    if is_time() { latency(&server, &model, number) } else { Duration::MAX }
                });
                server.client().unload(&model);
                let late = latencies.iter().filter(|latency| **latency > target).count();
                let middle = median(latencies);
                println!("{target:?}, {clients} clients: {late} of {count} late, median {middle:?}");
                check(late <= count / 100, || {
                    format!("{target:?}, {clients} clients: {late} of {count} late")
                })
            });
        }
    }
}

#[test]
fn who_comes_after_a_burst_does_not_wait_for_another() {
    let server = prompt_server();
    let target = 2_000 * MS;
    in_one_of_three(|attempt| {
        let model = format!("after_a_burst_{attempt}");
        server.load(&with_target(adaptive_config(&model, 16), target), SavedModel::Small("add_one"));
        for number in 0..30 {
            infer_add_one(&server, &model, number, 1);
        }
        let single = [500 * MS, 2_000 * MS, 2_000 * MS].map(|pause| {
            sleep(pause);
            latency(&server, &model, 1)
        });
        println!("single ones: {single:?}");
        check(single.iter().all(|latency| *latency < target / 10), || format!("single ones: {single:?}"))
    });
}

#[test]
fn a_timeout_takes_effect_while_all_workers_are_busy() {
    if !capabilities().has_backend_api(17, "that a timeout in the queue takes effect at its time") {
        return;
    }
    let server = prompt_server();
    let timeout = 300 * MS;
    for instances in [1, 2] {
        in_one_of_three(|attempt| {
            let model = format!("timeout_behind_{instances}_{attempt}");
            // Threads of its own: in TensorFlow's shared ones both long runs may have to wait for another test's.
            let config = slow_adaptive_config(&model, 1)
                .instances(instances)
                .parameter("TF_USE_PER_SESSION_THREADS", "true")
                .parameter("TF_NUM_INTER_THREADS", "4");
            server.load(&config, SavedModel::Small("slow"));
            let request = || {
                let sent = Instant::now();
                let request = slow_request(1.0).with_timeout_us(timeout.as_micros() as u64);
                (server.client().infer(&model, &request), sent.elapsed())
            };
            let (answer, waited) = while_busy(&server, &model, || match instances {
                1 => request(),
                _ => while_busy(&server, &model, request),
            });
            println!("{instances} instances: answered after {waited:?}, with {answer:?}");
            // The second of the long runs may have begun when the first one was nearly over.
            let Err(refusal) = answer else { return Err(format!("a worker was free after {waited:?}")) };
            assert!(refusal.message.contains("its timeout is 300000 us"), "{refusal:?}");
            let in_time = timeout <= waited && waited < BUSY / 2;
            check(in_time, || format!("refused after {waited:?}, not {timeout:?}"))
        });
    }
}

#[test]
fn those_past_their_timeout_are_not_in_the_way() {
    if !capabilities().has_backend_api(17, "that requests past their timeout leave the queue") {
        return;
    }
    let server = prompt_server();
    in_one_of_three(|attempt| {
        let model = format!("places_of_the_expired_{attempt}");
        let config = slow_adaptive_config(&model, 2).parameter("max_queue_size", "3");
        server.load(&config, SavedModel::Small("slow"));
        let send = |request: InferRequest| server.client().infer(&model, &request);
        let (left, refusal, let_in) = while_busy(&server, &model, || {
            scope(|scope| {
                let stays = scope.spawn(|| send(slow_request(1.0)));
                let leave =
                    [(); 2].map(|()| scope.spawn(|| send(slow_request(1.0).with_timeout_us(100_000))));
                let left = leave.map(|request| request.join().expect("the thread ends"));
                let come = [(); 2].map(|()| scope.spawn(|| send(slow_request(1.0))));
                sleep(200 * MS);
                let refusal = send(slow_request(1.0));
                let let_in = come.into_iter().chain([stays]);
                let let_in: Vec<_> = let_in.map(|request| request.join().expect("the thread ends")).collect();
                (left, refusal, let_in)
            })
        });
        // Who comes when the worker is free again waits for nothing.
        let left = left.iter().all(Result::is_err);
        check(left, || "a timeout of 100 ms did not end while the worker was busy".to_owned())?;
        let Err(refusal) = refusal else { return Err("a fourth found a place".to_owned()) };
        assert!(refusal.message.contains("queue full (3 of 3 rows)"), "{refusal:?}");
        for answer in let_in {
            Latency::of_outputs(&answer.expect("there was a place for it"), Some(1));
        }
        Ok(())
    });
}

#[test]
fn the_cancelled_are_noticed_and_leave_their_places() {
    if !capabilities().has_backend_api(16, "that cancelled requests leave the queue") {
        return;
    }
    let server = prompt_server();
    let log = server.log_file();
    let log = log.to_str().expect("a path of text");
    in_one_of_three(|attempt| {
        let model = format!("places_of_who_left_{attempt}");
        let config = slow_adaptive_config(&model, 2).parameter("max_queue_size", "3");
        server.load(&config, SavedModel::Small("slow"));
        // The number of milliseconds names the request in the log.
        let busy_ms = (2_900 + attempt).to_string();
        let seen = run_script("client/queue_places_grpc.py", &[&server.grpc_url(), &model, log, &busy_ms]);
        println!("{seen}");
        let full = seen["full"].as_str().expect("a text");
        assert!(full.contains("queue full (3 of 3 rows)"), "{seen}");
        assert_eq!(seen["next"], "answered", "{seen}");
        // 50 ms are promised; the client's cancellation is under way for a while as well.
        let noticed = seen["noticed_s"].as_f64().expect("a number");
        check(noticed < 0.3 && seen["busy"] == true, || format!("noticed after {noticed} s: {seen}"))
    });
}

/// Every second request has a timeout well below the target, and a few have none that could be kept.
#[test]
fn timeouts_of_some_change_neither_the_rate_nor_the_others() {
    if !capabilities().has_backend_api(17, "that timeouts of some leave the arrival rate as it is") {
        return;
    }
    let server = Server::start(Options::new().metrics());
    let target = 600 * MS;
    in_one_of_three(|attempt| {
        let model = &*format!("timeouts_of_some_{attempt}");
        server.load(&with_target(adaptive_config(model, 16), target), SavedModel::Small("add_one"));
        let gauge = || gauges(&server.metrics(), "tensorflow_latency_arrival_rate", model)[0].1;
        let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
        let client = |timeout_us: Option<u64>| {
            let (mut latencies, mut refused) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) {
                sleep(50 * MS);
                sent.fetch_add(1, Ordering::Relaxed);
                let request = InferRequest { timeout_us, ..add_one_request(&[1.0; 16]) };
                match server.client().infer(model, &request) {
                    Ok(answer) => latencies.push(QueueTimes::of_outputs(&answer).request_latency as u64),
                    Err(refusal) => {
                        assert!(
                            timeout_us.is_some() && refusal.message.contains("its timeout is"),
                            "{refusal:?}"
                        );
                        refused += 1;
                    }
                }
            }
            (latencies, refused)
        };
        let (shown, rate, ends) = scope(|scope| {
            let timeouts = (0..21).map(|number| match number {
                20 => Some(1),
                _ if number % 2 == 0 => Some(100_000),
                _ => None,
            });
            let client = &client;
            let clients: Vec<_> =
                timeouts.map(|timeout| (timeout, scope.spawn(move || client(timeout)))).collect();
            sleep(2_000 * MS);
            let (start, before) = (Instant::now(), sent.load(Ordering::Relaxed));
            let mut shown = Vec::new();
            for _ in 0..15 {
                shown.push(gauge());
                sleep(100 * MS);
            }
            let rate = (sent.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
            stop.store(true, Ordering::Relaxed);
            shown.sort_unstable_by(f64::total_cmp);
            let ends: Vec<_> = clients
                .into_iter()
                .map(|(of, client)| (of, client.join().expect("the thread ends")))
                .collect();
            (shown[shown.len() / 2], rate, ends)
        });
        let of = |wanted: Option<u64>| ends.iter().filter(move |(timeout, _)| *timeout == wanted);
        let without: Vec<u64> = of(None).flat_map(|(_, (latencies, _))| latencies.iter().copied()).collect();
        let late = without.iter().filter(|&&ns| Duration::from_nanos(ns) > target).count();
        let counts = |wanted| {
            let each = of(wanted).map(|(_, (latencies, refused))| (latencies.len(), *refused));
            each.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
        };
        let (short, tiny) = (counts(Some(100_000)), counts(Some(1)));
        println!(
            "{rate:.0} requests/s, shown as {shown:.0}; {late} of {} late; (answered, refused) with 100 ms {short:?}, \
             with 1 us {tiny:?}",
            without.len()
        );
        check((0.67..1.5).contains(&(shown / rate)), || format!("{rate} requests/s are shown as {shown}"))?;
        check(late <= without.len() / 100, || format!("{late} of {} late", without.len()))?;
        // Who would expire while waiting for company is run before.
        check(short.1 <= short.0 / 20, || format!("(answered, refused) with a timeout of 100 ms: {short:?}"))
    });
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn a_tiny_timeout_of_one_makes_nobody_late() {
    if !capabilities().has_backend_api(17, "that a timeout of one leaves the others in time") {
        return;
    }
    let server = prompt_server();
    let target = 5_000 * MS;
    in_one_of_three(|attempt| {
        let model = format!("tiny_timeout_of_one_{attempt}");
        server.load(&with_target(slow_adaptive_config(&model, 12), target), SavedModel::Small("slow"));
        // The model was not tried at load: what its batches take is learnt from these.
        for _ in 0..10 {
            server.client().infer(&model, &slow_request(5.0)).expect("the request is good");
        }
        let answers = while_busy(&server, &model, || {
            in_parallel(13, 13, |number| {
                if number == 12 {
                    sleep(300 * MS);
                }
                let sent = Instant::now();
                let request = InferRequest { timeout_us: (number == 12).then_some(1), ..slow_request(5.0) };
                (server.client().infer(&model, &request), sent.elapsed())
            })
        });
        for (number, (answer, waited)) in answers.into_iter().enumerate() {
            if number == 12 {
                assert!(answer.is_err(), "{answer:?}");
                check(waited < BUSY / 2, || format!("refused after {waited:?}"))?;
                continue;
            }
            let answer = answer.expect("it has no timeout");
            let size = Latency::of_outputs(&answer, Some(1)).executed_batch_size;
            check(size == 12, || format!("twelve that wait share a batch, not {size}"))?;
            let latency = Duration::from_nanos(QueueTimes::of_outputs(&answer).request_latency as u64);
            check(latency < target, || format!("answered after {latency:?}"))?;
        }
        Ok(())
    });
}

/// What became of requests that waited for company while something happened.
struct Waited {
    count: usize,
    /// From the start of what happened to the last answer.
    last: Duration,
}

/// Sends a request every `gap`, whatever is answered, until `wanted` of them wait for company; then does `work`.
fn while_requests_wait(
    server: &Server,
    model: &str,
    (gap, first, wanted): (Duration, usize, usize),
    work: impl FnOnce(),
) -> Result<Waited, String> {
    let (answered, last) = (AtomicUsize::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    scope(|scope| {
        let mut requests = Vec::new();
        let waiting = |sent: usize| sent - answered.load(Ordering::Relaxed);
        while requests.len() < first || waiting(requests.len()) < wanted {
            if requests.len() > first + 10 * wanted {
                return Err(format!("never do {wanted} wait, at last {}", waiting(requests.len())));
            }
            requests.push(scope.spawn(|| {
                let answer = server.client().try_infer(model, &add_one_request(&[1.0; 16]));
                answered.fetch_add(1, Ordering::Relaxed);
                last.fetch_max(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
                answer
            }));
            sleep(gap);
        }
        let count = waiting(requests.len());
        let start = begun.elapsed();
        work();
        for request in requests {
            let answer = request.join().expect("the thread ends");
            let answer = answer.map_err(|error| format!("a request was lost: {error}"))?;
            answer.map_err(|refusal| format!("a request was refused: {refusal:?}"))?;
        }
        Ok(Waited { count, last: Duration::from_nanos(last.load(Ordering::Relaxed)).saturating_sub(start) })
    })
}

/// The server tells the backend nothing of an unload before the last answer.
#[test]
fn a_long_target_does_not_hold_up_an_unload() {
    let server = Server::start(Options::new());
    in_one_of_three(|attempt| {
        let model = format!("unloaded_while_waiting_{attempt}");
        server.load(&with_target(adaptive_config(&model, 64), 20_000 * MS), SavedModel::Small("add_one"));
        // Many that would wait until it is certain that no more come; and rare ones, which would wait for that longer than
        // they may.
        for (gap, first, wanted) in [(50 * MS, 40, 12), (500 * MS, 8, 1)] {
            let mut took = Duration::ZERO;
            let Waited { count, last } = while_requests_wait(&server, &model, (gap, first, wanted), || {
                let start = Instant::now();
                unload_and_wait(&server, &model);
                took = start.elapsed();
            })?;
            println!(
                "{count} waited, the last was answered after {last:?}, the model was gone after {took:?}"
            );
            check(last.max(took) < 3_000 * MS, || {
                format!("{last:?} until the last answer, {took:?} to unload")
            })?;
            server.client().load(&model)?;
        }
        Ok(())
    });
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn a_long_target_does_not_hold_up_the_end_of_the_server() {
    in_one_of_three(|_| {
        let exit_timeout = 6_000 * MS;
        let server = Server::start(Options::new().exit_timeout(exit_timeout));
        let model = "waits_at_the_end";
        server.load(&with_target(adaptive_config(model, 64), 20_000 * MS), SavedModel::Small("add_one"));
        let Waited { count, last } =
            while_requests_wait(&server, model, (50 * MS, 40, 12), || server.signal_end())?;
        println!("{count} waited when the server was told to end, the last was answered after {last:?}");
        check(last < exit_timeout, || format!("the last was answered after {last:?}"))?;
        let code = server.stop();
        check(code == 0, || format!("the server ended with {code}"))
    });
}

/// Requests are so rare that they would wait for several seconds.
#[test]
fn loading_a_model_anew_ends_waiting_for_company() {
    let server = Server::start(Options::new());
    in_one_of_three(|attempt| {
        let model = format!("loaded_anew_{attempt}");
        let config = with_target(adaptive_config(&model, 64), 30_000 * MS).parameter("max_wait_ms", "15000");
        server.load(&config, SavedModel::Small("add_one"));
        let mut took = Duration::ZERO;
        let Waited { count, last } = while_requests_wait(&server, &model, (800 * MS, 8, 3), || {
            let file = server.repository().join(&model).join("config.pbtxt");
            let changed = config.clone().parameter("latency_percentile", "98");
            std::fs::write(file, changed.text()).expect("the repository can be written");
            let start = Instant::now();
            server.client().load(&model).expect("the changed model loads");
            took = start.elapsed();
        })?;
        println!("{count} waited, the last was answered after {last:?}; the load took {took:?}");
        check(last < 4_000 * MS, || format!("{count} waited, the last was answered after {last:?}"))?;
        infer_add_one(&server, &model, 1, 1);
        Ok(())
    });
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn any_largest_batch_size_will_do() {
    let server = prompt_server();
    let (model, target) = ("hundred_thousand_rows", 200 * MS);
    server.load(&with_target(adaptive_config(model, 100_000), target), SavedModel::Small("add_one"));
    let latencies = in_parallel(4, 400, |number| {
        infer_add_one(&server, model, number, 1 + number % 3 * 40).request_latency()
    });
    let middle = median(latencies);
    println!("median {middle:?}");
    assert!(middle < target, "a median of {middle:?}, with a target of {target:?}");
    for rows in [50_000, 100_000] {
        infer_add_one(&server, model, rows, rows);
    }
}
