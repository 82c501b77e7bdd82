//! Adaptive batching where something goes wrong: a full queue, clients that give up, failing batches, models that
//! go while requests wait, wrong settings.

use std::time::{Duration, Instant};

use crate::adaptive::{BUSY, assert_workers, slow_adaptive_config, while_busy};
use crate::faults::unload_and_wait;
use crate::support::*;

#[test]
fn a_full_queue_refuses_at_once_and_answers_what_it_took() {
    let server = prompt_server();
    in_one_of_three(|attempt| {
        let model = format!("adaptive_full_{attempt}");
        let config = slow_adaptive_config(&model, 2).parameter("max_queue_size", "3");
        server.load(&config, SavedModel::Small("slow"));
        let answers = while_busy(&server, &model, || {
            in_parallel(8, 8, |_| {
                let sent = Instant::now();
                (server.client().infer(&model, &slow_request(1.0)), sent.elapsed())
            })
        });
        let (mut refused, mut last) = (0, Duration::ZERO);
        for (answer, waited) in answers {
            match answer {
                Ok(answer) => drop(Latency::of_outputs(&answer, Some(1))),
                Err(refusal) => {
                    assert_eq!(refusal.status, capabilities().status(503), "{refusal:?}");
                    for part in [&*model, "queue full (3 of 3 rows)", "retry later"] {
                        assert!(refusal.message.contains(part), "'{part}' is missing in: {refusal:?}");
                    }
                    refused += 1;
                    last = last.max(waited);
                }
            }
        }
        let statistics = server.client().statistics_of(&model, 9);
        let counts = (statistics.success.count, statistics.fail.count);
        assert_eq!(counts, (9 - refused, refused), "{statistics:?}");
        assert!(refused <= 5, "three of eight may wait, {refused} were refused");
        // Who comes when the worker is free again finds a place.
        check(refused == 5, || format!("{refused} of 8 were refused while three waited"))?;
        // The execution that holds up the others has only begun.
        check(last < BUSY / 2, || format!("refused after {last:?}, while the worker was busy"))
    });
}

#[test]
fn an_empty_queue_takes_a_request_of_more_rows_than_may_wait() {
    let server = prompt_server();
    let model = "adaptive_large_request";
    let config = add_one_config(model, 8).adaptive().parameter("max_queue_size", "2");
    server.load(&config, SavedModel::Small("add_one"));
    for rows in [2, 3, 8] {
        let values = Random::new(rows).floats(rows as usize * ADD_ONE_WIDTH as usize);
        let answer = server.client().infer(model, &add_one_request(&values)).expect("the queue is empty");
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    }
}

#[test]
fn a_request_whose_timeout_ends_in_the_queue_is_not_run() {
    if !capabilities().has_backend_api(17, "a request's timeout in the queue of adaptive batching") {
        return;
    }
    let server = prompt_server();
    in_one_of_three(|attempt| {
        let model = format!("adaptive_timeout_{attempt}");
        server.load(&slow_adaptive_config(&model, 8), SavedModel::Small("slow"));
        let answers = while_busy(&server, &model, || {
            in_parallel(3, 3, |number| {
                // A tenth of a second is over before the worker is free; a minute is not.
                let timeout_us = if number == 1 { 60_000_000 } else { 100_000 };
                server.client().infer(&model, &slow_request(1.0).with_timeout_us(timeout_us))
            })
        });
        for (number, answer) in answers.into_iter().enumerate() {
            if number == 1 {
                Latency::of_outputs(&answer.expect("its timeout is far"), Some(1));
                continue;
            }
            // One that comes when the worker is free again is run.
            let Err(refusal) = answer else { return Err(format!("request {number} was answered")) };
            assert_eq!(refusal.status, capabilities().status(503), "{refusal:?}");
            for part in [&*model, "was not run", "its timeout is 100000 us"] {
                assert!(refusal.message.contains(part), "'{part}' is missing in: {refusal:?}");
            }
        }
        let statistics = server.client().statistics_of(&model, 4);
        assert_eq!((statistics.success.count, statistics.fail.count), (2, 2), "{statistics:?}");
        assert_eq!(statistics.inference_count, 2, "{statistics:?}");
        assert_eq!(statistics.executions_by_batch.get(&1), Some(&2), "{statistics:?}");
        Ok(())
    });
}

#[test]
fn a_request_that_is_cancelled_in_the_queue_is_not_run() {
    if !capabilities().has_backend_api(16, "a request that is cancelled in the queue of adaptive batching") {
        return;
    }
    let server = prompt_server();
    let log = server.log_file();
    let log = log.to_str().expect("a path of text");
    in_one_of_three(|attempt| {
        let model = format!("adaptive_cancelled_{attempt}");
        server.load(&slow_adaptive_config(&model, 8), SavedModel::Small("slow"));
        // The number of milliseconds names the request in the log.
        let busy_ms = (1_900 + attempt).to_string();
        let ends = run_script("client/leave_queue_grpc.py", &[&server.grpc_url(), &model, log, &busy_ms]);
        let expected = serde_json::json!(["cancelled", "answered", "cancelled"]);
        check(ends == expected, || format!("the requests that waited ended so: {ends}"))?;
        // The one that kept the worker busy and the one that was not cancelled.
        let statistics = server.client().statistics_of(&model, 4);
        assert_eq!((statistics.success.count, statistics.fail.count), (2, 2), "{statistics:?}");
        assert_eq!((statistics.inference_count, statistics.execution_count), (2, 2), "{statistics:?}");
        Ok(())
    });
}

/// One request of a batch is planted to panic: each has an answer, and the worker goes on.
#[test]
fn a_panic_in_a_batch_answers_every_request_of_it() {
    let server = prompt_server();
    for (step, others_fail) in [("execute", true), ("gather", true), ("scatter", false)] {
        // Where the machine stalls, a request may come only when the batch of the others has begun.
        let together = (0..3).any(|attempt| panics_together(&server, step, others_fail, attempt));
        assert!(together, "{step}: the four requests were not in one batch, three times");
    }
}

/// Returns whether the four requests were in one batch; if not, nothing was shown.
fn panics_together(server: &Server, step: &str, others_fail: bool, attempt: u32) -> bool {
    let model = format!("adaptive_panics_in_{step}_{attempt}");
    let config = slow_adaptive_config(&model, 8).parameter("test_panic", step);
    server.load(&config, SavedModel::Small("slow"));
    let answers = while_busy(server, &model, || {
        in_parallel(4, 4, |number| {
            let request = slow_request(1.0);
            let request = if number == 1 { request.with_id("panic") } else { request };
            server.client().infer(&model, &request)
        })
    });
    let batch_size = |answer: &Answer| Latency::of_outputs(answer, Some(1)).executed_batch_size;
    if let Some(other) = answers.iter().flatten().map(batch_size).find(|size| *size != 4) {
        println!("{step}: a request was answered in a batch of {other}");
        return false;
    }
    let mut failed = 0;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            // Whoever was answered before the panic has its answer.
            Ok(_) => assert!(number != 1 && !others_fail, "{step}: the backend panics for this batch"),
            Err(refusal) => {
                let planted = refusal.message.contains("planted by the parameter test_panic");
                assert!(planted, "{step}: {refusal:?}");
                failed += 1;
            }
        }
    }
    let answer = server.client().infer(&model, &slow_request(1.0)).expect("the worker goes on");
    Latency::of_outputs(&answer, Some(1));
    let statistics = server.client().statistics_of(&model, 6);
    assert_eq!(statistics.fail.count, failed, "{step}: {statistics:?}");
    true
}

#[test]
fn failing_executions_fail_no_other_batch() {
    let server = prompt_server();
    let model = "adaptive_failing";
    let config = ModelConfig::new(model, 8)
        .input("x", "FP32", &[4])
        .output("y", "FP32", &[4])
        .adaptive()
        .parameter("latency_target_ms", "300");
    server.load(&config, SavedModel::Small("failing"));
    let count = 600;
    let failed = in_parallel(4, count, |number| {
        let bad = number % 10 == 3;
        let first = if bad { f32::NAN } else { number as f32 };
        let values = [first, 1.0, 2.0, 3.0];
        let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &values)]);
        match server.client().infer(model, &request) {
            Ok(answer) => {
                assert!(!bad, "the model refuses what is not a number");
                assert_eq!(answer.output("y").as_f32(), values, "request {number}");
                false
            }
            // A good one, too, where it was in the batch of a bad one.
            Err(refusal) => {
                assert!(refusal.message.contains("planted failure"), "{refusal:?}");
                true
            }
        }
    });
    let failed = failed.into_iter().filter(|&failed| failed).count() as u64;
    println!("{failed} of {count} failed");
    // At most four are at work, so a bad one takes no more than three good ones with it.
    assert!((60..=240).contains(&failed), "{failed} of {count} failed");
    let statistics = server.client().statistics_of(model, count as u64);
    assert_eq!(statistics.fail.count, failed, "{statistics:?}");
}

#[test]
fn a_model_that_is_unloaded_answers_what_waits() {
    let server = Server::start(Options::new());
    let model = "adaptive_unloaded";
    // The server says nothing of the unload before the last response, so what waits for others waits on, as
    // long as its target allows.
    for target in [None, Some("3000")] {
        let mut config = slow_adaptive_config(model, 2);
        if let Some(target) = target {
            config = config.parameter("latency_target_ms", target);
        }
        server.load(&config, SavedModel::Small("slow"));
        // The first runs as nothing is known yet, three pairs follow, and the last may wait for another.
        let answers = std::thread::scope(|scope| {
            let requests: Vec<_> =
                (0..8).map(|_| scope.spawn(|| server.client().infer(model, &slow_request(150.0)))).collect();
            std::thread::sleep(Duration::from_millis(200));
            unload_and_wait(&server, model);
            requests.into_iter().map(|request| request.join().expect("the thread ends")).collect::<Vec<_>>()
        });
        for answer in answers {
            Latency::of_outputs(&answer.expect("what waits is answered"), Some(1));
        }
        assert_workers(&server, 0);
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// A server that changes the count of instances in place tells the backend that one goes, and then nothing
/// waits for others any more.
#[test]
fn an_instance_that_goes_has_what_waits_answered_soon() {
    let server = Server::start(Options::new());
    let model = "adaptive_instance_goes";
    let target = Duration::from_secs(40);
    let config = |count: u32| {
        let target_ms = target.as_millis().to_string();
        slow_adaptive_config(model, 64).instances(count).parameter("latency_target_ms", &target_ms)
    };
    server.load(&config(2), SavedModel::Small("slow"));
    let sent = Instant::now();
    std::thread::scope(|scope| {
        // The first runs as nothing is known yet, the others may wait.
        let requests: Vec<_> = (0..6)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(100) * number);
                    server.client().infer(model, &slow_request(20.0))
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        std::fs::write(server.repository().join(model).join("config.pbtxt"), config(1).text())
            .expect("the repository can be written");
        server.client().load(model).expect("another count of instances");
        for request in requests {
            let answer = request.join().expect("the thread ends").expect("what waits is answered");
            Latency::of_outputs(&answer, Some(1));
        }
    });
    println!("all answered after {:?}", sent.elapsed());
    // Each time that the backend makes the model anew, it tells once how it runs it.
    if server.log().matches(&format!("model '{model}': runs in TensorFlow's threads")).count() > 1 {
        skipped("this server replaces the whole model where only the count of its instances changes");
        return;
    }
    assert!(sent.elapsed() < target / 2, "answered after {:?}", sent.elapsed());
}

#[test]
fn loading_often_and_many_requests_leave_nothing_behind() {
    let server = Server::start(Options::new());
    let model = "adaptive_often";
    let config = add_one_config(model, 64).latency_outputs().adaptive().parameter("latency_target_ms", "5");
    let one = |number: usize| {
        let values = Random::new(number as u64).floats(64 * ADD_ONE_WIDTH as usize);
        let request = add_one_request(&values);
        // Where the machine stalls, a target of 5 ms leaves no room for all four.
        let answer = loop {
            match server.client().infer(model, &request) {
                Err(refusal) if refusal.message.contains("queue full") => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                answer => break answer.expect("the request is good"),
            }
        };
        assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    };
    let mut after_loads = Vec::new();
    for number in 0..50 {
        server.load(&config, SavedModel::Small("add_one"));
        one(number);
        after_loads.push((server.thread_count(), server.resident_bytes() >> 20));
        unload_and_wait(&server, model);
    }
    println!("threads and resident MiB after each load: {after_loads:?}");
    // Pools and allocators settle within the first twenty.
    let (early, late) = (after_loads[19], after_loads[49]);
    assert!(late.0 < early.0 + 10, "{} threads became {} over 30 loads", early.0, late.0);
    assert!(late.1 < early.1 + 60, "resident memory grew from {} to {} MiB over 30 loads", early.1, late.1);
    assert_workers(&server, 0);

    server.load(&config, SavedModel::Small("add_one"));
    let _ = in_parallel(4, 2000, one);
    let before = server.resident_bytes() >> 10;
    let _ = in_parallel(4, 10_000, one);
    let grown = (server.resident_bytes() >> 10).saturating_sub(before);
    println!("resident memory: {before} KiB, and {grown} KiB more after 10,000 requests");
    // 4 KiB go in and come out: a leak of either would be 40 MiB.
    assert!(grown < 16 << 10, "resident memory grew by {grown} KiB over 10,000 requests of 4 KiB");
}

#[test]
fn wrong_settings_are_refused() {
    let server = prompt_server();
    let config =
        |name: &str, key: &str, value: &str| add_one_config(name, 8).adaptive().parameter(key, value);
    let cases: [(&str, ModelConfig, &[&str]); 6] = [
        (
            "batching_by_nobody",
            add_one_config("batching_by_nobody", 8).parameter("batching", "dynamic"),
            &["'batching'", "adaptive or triton", "'dynamic'"],
        ),
        ("target_of_0", config("target_of_0", "latency_target_ms", "0"), &["'latency_target_ms'", "above 0"]),
        (
            "percentile_alone",
            config("percentile_alone", "latency_percentile", "99"),
            &["latency_percentile", "latency_target_ms"],
        ),
        ("queue_of_0", config("queue_of_0", "max_queue_size", "0"), &["'max_queue_size'", "1 or more"]),
        (
            "stray_target",
            add_one_config("stray_target", 8)
                .parameter("batching", "triton")
                .parameter("latency_target_ms", "5"),
            &["latency_target_ms", "batching: adaptive"],
        ),
        (
            "two_who_batch",
            add_one_config("two_who_batch", 8).adaptive().dynamic_batching(100),
            &["dynamic_batching", "batching: adaptive", "remove one of them"],
        ),
    ];
    for (name, config, tells) in cases {
        let message = server.try_load(&config, SavedModel::Small("add_one")).expect_err(name);
        for part in [&[name], tells].concat() {
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }
}
