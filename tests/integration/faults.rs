//! Faults: panics, models that come and go under load, a server told to end, clients that go away.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn a_panic_becomes_an_error_response() {
    let server = Server::start(Options::new());
    for step in ["execute", "gather", "scatter"] {
        let model = format!("panics_in_{step}");
        let config = add_one_config(&model, 8).latency_outputs().parameter("test_panic", step);
        server.load(&config, SavedModel::Small("add_one"));
        for round in 0..3 {
            let refusal = server
                .client()
                .infer(&model, &add_one_request(&[1.0; 16]).with_id("panic"))
                .expect_err("the backend panics for this id");
            println!("{refusal:?}");
            assert_eq!(refusal.status, capabilities().status(500), "{refusal:?}");
            assert!(refusal.message.contains("planted by the parameter test_panic"), "{refusal:?}");
            let values = [round as f32; 32];
            let answer =
                server.client().infer(&model, &add_one_request(&values)).expect("the request is good");
            assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
            Latency::of_outputs(&answer, Some(2));
        }
        let statistics = server.client().statistics_of(&model, 6);
        assert_eq!((statistics.success.count, statistics.fail.count), (3, 3), "{statistics:?}");
    }
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn a_panic_in_a_merged_batch_answers_every_request_of_it() {
    let server = Server::start(Options::new());
    for step in ["execute", "gather", "scatter"] {
        let model = format!("merged_panic_in_{step}");
        let config = add_one_config(&model, 8)
            .parameter("test_panic", step)
            .dynamic_batching_preferring(20_000_000, 4);
        server.load(&config, SavedModel::Small("add_one"));
        let answers = in_parallel(4, 4, |number| {
            let request = add_one_request(&[number as f32; 16]);
            let request = if number == 1 { request.with_id("panic") } else { request };
            server.client().infer(&model, &request)
        });
        let mut failed = 0;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(answer) => {
                    assert_ne!(number, 1, "{step}: the backend panics for this request");
                    assert_eq!(answer.output("y").as_f32(), [number as f32 + 1.0; 16], "{step}");
                }
                Err(refusal) => {
                    assert!(
                        refusal.message.contains("planted by the parameter test_panic"),
                        "{step}: {refusal:?}"
                    );
                    failed += 1;
                }
            }
        }
        println!("{step}: {failed} of 4 requests failed");
        let statistics = server.client().statistics_of(&model, 4);
        assert_eq!(statistics.fail.count, failed, "{statistics:?}");
    }
}

/// What a model that comes and goes may answer when it is not there.
fn is_unavailable(refusal: &Refusal) -> bool {
    let told = [
        "not ready",
        "unknown model",
        "not found",
        "no available versions",
        "unavailable",
        "not at ready state",
    ];
    [400, 404, 503].contains(&refusal.status)
        && told.iter().any(|part| refusal.message.to_lowercase().contains(part))
}

/// Sends requests on `threads` threads while `work` runs; `send` checks an answer and tells whether it came
/// or the model was not there. Every thread must end soon after `work`: none may hang. The number of answers
/// and of refusals.
pub fn requests_while(threads: usize, send: impl Fn() -> bool + Sync, work: impl FnOnce()) -> (usize, usize) {
    let stop = AtomicBool::new(false);
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if send() {
                        answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
        // Threads must end when the work fails, too.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
    (answered.into_inner(), refused.into_inner())
}

/// Unloads the model and waits until it is gone.
pub fn unload_and_wait(server: &Server, model: &str) {
    server.client().unload(model);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, index) = server.client().post("/v2/repository/index", &serde_json::Value::Null);
        let index: serde_json::Value = serde_json::from_str(&index).expect("the index is JSON");
        let entry = index.as_array().expect("a list").iter().find(|entry| entry["name"] == model).cloned();
        if entry.is_none_or(|entry| entry["reason"] == "unloaded") {
            return;
        }
        assert!(Instant::now() < deadline, "'{model}' was not unloaded within 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn loading_and_unloading_under_requests_loses_none_and_keeps_no_memory() {
    let server = Server::start(Options::new());
    let model = "comes_and_goes";
    let config = add_one_config(model, 64).latency_outputs().dynamic_batching(300).instances(2);
    server.load(&config, SavedModel::Small("add_one"));
    let number = AtomicUsize::new(0);
    let send = || {
        let values = Random::new(number.fetch_add(1, Ordering::Relaxed) as u64).floats(32);
        match server.client().infer(model, &add_one_request(&values)) {
            Ok(answer) => {
                assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
                Latency::of_outputs(&answer, Some(2));
                true
            }
            Err(refusal) => {
                assert!(is_unavailable(&refusal), "{refusal:?}");
                false
            }
        }
    };
    let mut resident = Vec::new();
    let (answered, refused) = requests_while(4, send, || {
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(100));
            unload_and_wait(&server, model);
            server.client().load(model).expect("the model loads again");
            resident.push(server.resident_bytes() >> 20);
        }
    });
    println!("{answered} answered, {refused} refused; resident MiB after each load: {resident:?}");
    assert!(answered > 300 && refused > 0, "{answered} answered, {refused} refused");
    // Allocators settle within the first ten.
    let (early, late) = (resident[9], resident[29]);
    assert!(late < early + 60, "resident memory grew from {early} MiB to {late} MiB over 20 loads");
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn inception_can_be_loaded_and_unloaded_under_requests() {
    let _turn = heavy_turn();
    let reference = inception_reference();
    let server = Server::start(Options::new());
    let model = "inception_comes_and_goes";
    server.load(&inception_config(model).dynamic_batching(10_000), SavedModel::Inception);
    let send = || match server.client().infer(model, &inception_request(&reference.input(3, 1))) {
        Ok(answer) => {
            let error = relative_error(&answer.output("predictions").as_f32(), &reference.expected(3, 1));
            assert!(error < 1e-5, "relative error {error:e}");
            true
        }
        Err(refusal) => {
            assert!(is_unavailable(&refusal), "{refusal:?}");
            false
        }
    };
    let mut resident = Vec::new();
    let (answered, refused) = requests_while(2, send, || {
        for _ in 0..8 {
            std::thread::sleep(Duration::from_millis(400));
            unload_and_wait(&server, model);
            server.client().load(model).expect("the model loads again");
            resident.push(server.resident_bytes() >> 20);
        }
    });
    println!("{answered} answered, {refused} refused; resident MiB after each load: {resident:?}");
    assert!(answered > 5 && refused > 0, "{answered} answered, {refused} refused");
    // The allocator settles within the first five. One copy of the weights is 91 MiB: a leak of each would be
    // 273 MiB over the last three loads.
    let (early, late) = (resident[4], resident[7]);
    assert!(late < early + 150, "resident memory grew from {early} MiB to {late} MiB over three loads");
}

#[test]
fn a_server_told_to_end_answers_what_it_has() {
    let server = Server::start(Options::new());
    let model = "slow_at_the_end";
    server.load(&slow_config(model, 1).instances(2), SavedModel::Small("slow"));
    server.client().infer(model, &slow_request(1.0)).expect("the request is good");
    std::thread::scope(|scope| {
        // Two at work and two in the server's queue.
        let requests: Vec<_> =
            (0..4).map(|_| scope.spawn(|| server.client().try_infer(model, &slow_request(800.0)))).collect();
        std::thread::sleep(Duration::from_millis(300));
        server.signal_end();
        for request in requests {
            let answer = request
                .join()
                .expect("the thread ends")
                .expect("a request in flight is answered before the connection closes")
                .expect("a request in flight is answered, not refused");
            let latency = Latency::of_outputs(&answer, Some(1));
            assert!(latency.infer > 100_000_000, "{latency:?}");
        }
    });
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn clients_that_go_away_harm_nobody() {
    let server = Server::start(Options::new());
    let model = "abandoned";
    server.load(&slow_config(model, 4).instances(2), SavedModel::Small("slow"));
    let client = server.client();
    client.infer(model, &slow_request(1.0)).expect("the request is good");
    let (json_length, body) = slow_request(300.0).binary_body();
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\n{JSON_LENGTH_HEADER}: {json_length}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    for round in 0..6 {
        let mut stream = TcpStream::connect(server.http_url()).expect("the server listens");
        stream.write_all(head.as_bytes()).expect("the server reads");
        if round % 3 == 2 {
            // Gone in the middle of the body.
            stream.write_all(&body[..body.len() - 2]).expect("the server reads");
        } else {
            stream.write_all(&body).expect("the server reads");
            std::thread::sleep(Duration::from_millis(80));
        }
        drop(stream);
        let answer = client.infer(model, &slow_request(1.0)).expect("the request is good");
        Latency::of_outputs(&answer, Some(1));
    }
    // The first, one for each round, and the four that came in whole: an answer that nobody waits for is
    // counted.
    let statistics = client.statistics_of(model, 1 + 6 + 4);
    println!("{statistics:?}");
    assert_eq!(statistics.inference_count, 11, "{statistics:?}");
    assert!(server.is_running());
    assert_eq!(server.stop(), 0, "the server ends in order");
}

#[test]
fn grpc_calls_that_are_given_up_harm_nobody() {
    let server = Server::start(Options::new());
    let model = "given_up";
    server.load(&slow_config(model, 4).instances(2), SavedModel::Small("slow"));
    let ends = run_script("client/leave_grpc.py", &[&server.grpc_url(), model]);
    assert_eq!(ends, serde_json::json!(["DEADLINE_EXCEEDED", "cancelled", "DEADLINE_EXCEEDED", "cancelled"]));
    let answer = server.client().infer(model, &slow_request(1.0)).expect("the request is good");
    Latency::of_outputs(&answer, Some(1));
    // Four given up, one good one after each, and the last.
    let statistics = server.client().statistics_of(model, 9);
    println!("{statistics:?}");
    assert!(server.is_running());
    assert_eq!(server.stop(), 0, "the server ends in order");
}
