//! Adaptive batching where all goes well: the queue's times, which requests share a batch, in which order they
//! run, instances, a latency target.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::faults::{requests_while, unload_and_wait};
use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

/// `add_one` with adaptive batching and all times.
pub fn adaptive_config(name: &str, max_batch_size: u32) -> ModelConfig {
    add_one_config(name, max_batch_size).latency_outputs().queue_outputs().adaptive()
}

/// `slow` with adaptive batching and all times. A batch takes as long as the longest of its requests alone.
pub fn slow_adaptive_config(name: &str, max_batch_size: u32) -> ModelConfig {
    slow_config(name, max_batch_size).queue_outputs().adaptive()
}

/// How long [`while_busy`] keeps the worker busy, or a little longer.
pub const BUSY: Duration = Duration::from_millis(2000);

/// Does `work` while the only instance of a model of [`slow_adaptive_config`] executes a request. So the
/// requests that `work` sends wait, until [`BUSY`] is over.
pub fn while_busy<T>(server: &Server, model: &str, work: impl FnOnce() -> T) -> T {
    // Each its own number of milliseconds, as tests share a server and its log.
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let ms = BUSY.as_millis() as u16 + COUNT.fetch_add(1, Ordering::Relaxed);
    let begins = format!("slow: at work for {ms} ms");
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| server.client().infer(model, &slow_request(ms.into())));
        assert!(eventually(|| server.log().contains(&begins)), "the worker has nothing to do");
        let result = work();
        busy.join().expect("the thread ends").expect("the request is good");
        result
    })
}

/// The models' workers on the server become `count`. A thread has its name only once it has run, and the kernel
/// lists it for a moment after it was joined.
pub fn assert_workers(server: &Server, count: usize) {
    let found = || server.threads_named("batches");
    assert!(eventually(|| found() == count), "{} workers, expected {count}", found());
}

/// A request that was answered, on the server's clock.
pub struct Queued {
    seen: Seen,
    times: QueueTimes,
}

impl Queued {
    /// The time that it was in the server.
    pub fn request_latency(&self) -> Duration {
        Duration::from_nanos(self.times.request_latency as u64)
    }

    fn arrival(&self) -> i64 {
        self.seen.latency.request_end - self.times.request_latency
    }

    /// The start of the batch; no two batches of an instance start in the same nanosecond.
    fn exec_start(&self) -> i64 {
        self.seen.latency.request_end - self.seen.latency.total
    }
}

/// Sends a request, keeps its times and checks what holds for each alone.
fn infer(server: &Server, model: &str, rows: usize, request: &InferRequest) -> (Answer, Queued) {
    let sent = monotonic_ns();
    let answer = server.client().infer(model, request).expect("the request is good");
    let received = monotonic_ns();
    let latency = Latency::of_outputs(&answer, Some(rows as i64));
    let times = QueueTimes::of_outputs(&answer);
    assert!(times.queue >= 0, "{times:?}");
    assert_eq!(times.queue + latency.total, times.request_latency, "{times:?}, {latency:?}");
    assert!(times.request_latency < received - sent, "{times:?}, the client waited {} ns", received - sent);
    (answer, Queued { seen: Seen { rows: rows as i64, sent, received, latency }, times })
}

/// As [`infer`], for rows of `add_one` that the number decides.
pub fn infer_add_one(server: &Server, model: &str, number: usize, rows: usize) -> Queued {
    let values = Random::new(number as u64).floats(rows * ADD_ONE_WIDTH as usize);
    let (answer, queued) = infer(server, model, rows, &add_one_request(&values));
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values), "request {number}");
    queued
}

/// The requests of each batch: those that started in the same nanosecond.
fn batches(queued: &[Queued]) -> BTreeMap<i64, Vec<usize>> {
    let mut batches: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (number, one) in queued.iter().enumerate() {
        batches.entry(one.exec_start()).or_default().push(number);
    }
    for members in batches.values() {
        let rows: i64 = members.iter().map(|&number| queued[number].seen.rows).sum();
        for &number in members {
            let reported = queued[number].seen.latency.executed_batch_size;
            assert_eq!(reported, rows, "the requests of one batch have as many rows as it");
        }
    }
    batches
}

fn seen(queued: Vec<Queued>) -> Vec<Seen> {
    queued.into_iter().map(|one| one.seen).collect()
}

/// How far the mean of the server's queue times is from that of the responses, in ms. The server's begin
/// earlier, when it takes the request in and not when it hands it over.
fn mean_difference_ms(queued: &[Queued], before: &Statistics, after: &Statistics) -> f64 {
    let responses: i64 = queued.iter().map(|one| one.times.queue).sum();
    let server = (after.queue.ns - before.queue.ns) as i64;
    assert!(responses <= server, "the responses have {responses} ns in the queue, the server {server} ns");
    (server - responses) as f64 / queued.len() as f64 / 1e6
}

#[test]
fn times_in_the_queue_are_the_server_s() {
    // The server's hand-over is what is measured: not beside a test that keeps all cores busy.
    let _turn = heavy_turn();
    let server = prompt_server();
    let model = "adaptive_times";
    server.load(&adaptive_config(model, 8), SavedModel::Small("add_one"));
    // The server's hand-over is part of the difference, and a test beside this one may delay it, but not in
    // each of three rounds.
    let agrees = (0..3).any(|_| {
        let before = server.client().statistics(model);
        let count = 2000;
        let queued =
            in_parallel(8, count, |number| infer_add_one(&server, model, number, 1 + number * 7 % 8));
        let after = server.client().statistics_of(model, before.success.count + count as u64);
        let difference = mean_difference_ms(&queued, &before, &after);
        let request = (after.success.ns - before.success.ns) as f64 / count as f64 / 1e6;
        println!(
            "mean difference to the server's queue: {difference:.4} ms of {request:.4} ms for a request"
        );

        let largest = queued.iter().map(|one| one.seen.latency.executed_batch_size).max();
        assert!(largest <= Some(8), "a batch of {largest:?} where 8 are the most");
        let seen = seen(queued);
        assert_sums_equal(&seen, &before, &after);
        assert_batches_agree(&seen, &before, &after);
        // On a machine that is busy otherwise, the hand-over takes longer, as all that a request waits for does.
        difference < f64::max(0.2, request / 3.0)
    });
    assert!(agrees, "the responses' time in the queue is not that of the server's statistics");
}

/// Here TensorFlow keeps every core busy, so the server's hand-over, which is the difference, takes longer: a
/// thread that wakes gets a core after some milliseconds. Against the time in the queue that is little.
#[test]
fn times_in_the_queue_are_the_server_s_for_inception() {
    let _turn = heavy_turn();
    let reference = inception_reference();
    let server = shared_server();
    let model = "adaptive_inception";
    // As it is: here batches are of any size, and rounding with batch norm in the weights has its own tests.
    let config = inception_config(model).queue_outputs().adaptive().parameter("TF_FREEZE", "false");
    server.load(&config, SavedModel::Inception);
    let before = server.client().statistics(model);
    let queued = in_parallel(6, 36, |number| {
        let request = inception_request(&reference.input(number, 1));
        let (answer, queued) = infer(&server, model, 1, &request);
        let error = relative_error(&answer.output("predictions").as_f32(), &reference.expected(number, 1));
        assert!(error < 1e-5, "request {number}: relative error {error:e}");
        queued
    });
    let after = server.client().statistics_of(model, before.success.count + 36);
    let difference = mean_difference_ms(&queued, &before, &after);
    let mean = queued.iter().map(|one| one.times.queue).sum::<i64>() as f64 / 36e6;
    println!("mean time in the queue {mean:.3} ms, mean difference to the server's {difference:.3} ms");
    assert!(difference < 0.1 * mean, "{difference} ms of {mean} ms");
    assert!(batches(&queued).len() < 30, "requests that wait share the next execution");
    let seen = seen(queued);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);
    server.client().unload(model);
}

#[test]
fn times_in_the_queue_ride_as_parameters() {
    let server = prompt_server();
    let model = "adaptive_parameters";
    let config = adaptive_config(model, 8).parameter("latency-parameters", "true");
    server.load(&config, SavedModel::Small("add_one"));
    let answer = server.client().infer(model, &add_one_request(&[1.0; 32])).expect("the request is good");
    assert_eq!(QueueTimes::of_outputs(&answer), QueueTimes::of_parameters(&answer.parameters));
    assert_eq!(Latency::of_outputs(&answer, Some(2)), Latency::of_parameters(&answer.parameters));
}

#[test]
fn without_a_batch_dimension_requests_run_one_by_one() {
    let server = prompt_server();
    let model = "adaptive_fixed";
    let config = ModelConfig::new(model, 0)
        .input("x", "FP32", &[2, 3])
        .output("y", "FP32", &[3, 2])
        .latency_outputs()
        .queue_outputs()
        .adaptive();
    server.load(&config, SavedModel::Small("fixed"));
    in_parallel(4, 200, |number| {
        let values = Random::new(number as u64).floats(6);
        let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 3], &values)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let transposed: Vec<f32> = [0, 3, 1, 4, 2, 5].map(|i| values[i]).to_vec();
        assert_eq!(answer.output("y").as_f32(), transposed, "request {number}");
        let (latency, times) = (Latency::of_outputs(&answer, None), QueueTimes::of_outputs(&answer));
        assert_eq!(latency.executed_batch_size, 1);
        assert_eq!(times.queue + latency.total, times.request_latency);
    });
}

#[test]
fn requests_that_wait_for_a_batch_run_together_after_it() {
    let server = prompt_server();
    in_one_of_three(|attempt| {
        let model = format!("adaptive_merges_{attempt}");
        server.load(&slow_adaptive_config(&model, 8), SavedModel::Small("slow"));
        let queued = while_busy(&server, &model, || {
            in_parallel(6, 6, |_| infer(&server, &model, 1, &slow_request(1.0)).1)
        });
        let executions = server.client().statistics_of(&model, 7).execution_count;
        let sizes: Vec<usize> = batches(&queued).values().map(Vec::len).collect();
        assert_eq!(executions, 1 + sizes.len() as u64, "batches of {sizes:?}");
        check(sizes == [6], || format!("six that wait are one batch, not {sizes:?}"))?;
        assert!(queued.iter().all(|one| one.times.queue > 0), "each has waited");
        Ok(())
    });
}

/// One instance, so there is one order. Triton hands over one request at a time.
#[test]
fn requests_end_in_the_order_in_which_they_came() {
    let server = prompt_server();
    let model = "adaptive_order";
    server.load(&adaptive_config(model, 4), SavedModel::Small("add_one"));
    let mut queued = in_parallel(8, 1000, |number| infer_add_one(&server, model, number, 1 + number % 3));
    queued.sort_by_key(Queued::arrival);
    for pair in queued.windows(2) {
        let (first, second) = (&pair[0], &pair[1]);
        assert!(
            first.arrival() == second.arrival()
                || (first.exec_start() <= second.exec_start()
                    && first.seen.latency.request_end <= second.seen.latency.request_end),
            "a request that came {} ns later was before {:?} with {:?}",
            second.arrival() - first.arrival(),
            first.seen.latency,
            second.seen.latency
        );
    }
}

#[test]
fn only_requests_of_equal_shapes_share_a_batch() {
    let server = prompt_server();
    let model = "adaptive_shapes";
    let config = ModelConfig::new(model, 16)
        .input("x", "FP64", &[-1, -1, -1])
        .output("y", "FP64", &[-1, -1, -1])
        .latency_outputs()
        .queue_outputs()
        .adaptive();
    server.load(&config, SavedModel::Small("any_shape"));
    let shapes: [[i64; 3]; 3] = [[1, 2, 3], [3, 2, 1], [2, 2, 2]];
    // Three in a row are alike, so that there is something to merge and an end to it.
    let shape = |number: usize| shapes[number / 3 % 3];
    let queued = in_parallel(8, 1200, |number| {
        let rows = 1 + number % 2;
        let values = Random::new(number as u64).floats(rows * shape(number).iter().product::<i64>() as usize);
        let bytes = |factor: f64| -> Vec<u8> {
            values.iter().flat_map(|&value| (f64::from(value) * factor).to_le_bytes()).collect()
        };
        let dims = [&[rows as i64][..], &shape(number)].concat();
        let request = InferRequest::new(vec![Tensor::new("x", "FP64", &dims, bytes(1.0))]);
        let (answer, queued) = infer(&server, model, rows, &request);
        assert_eq!(*answer.output("y"), Tensor::new("y", "FP64", &dims, bytes(2.0)), "request {number}");
        queued
    });
    let batches = batches(&queued);
    let merged = batches.values().filter(|members| members.len() > 1).count();
    println!("{} batches, {merged} of several requests", batches.len());
    assert!(merged > 20, "{merged} of {} batches are of several requests", batches.len());
    for members in batches.values() {
        let mut of_members = members.iter().map(|&number| shape(number));
        let first = of_members.next();
        assert!(of_members.all(|other| Some(other) == first), "shapes are mixed in {members:?}");
    }
}

/// The queue's threads come and go with the instances; newer servers change their count in place.
#[test]
fn each_instance_is_a_thread_and_their_count_changes_under_requests() {
    let server = Server::start(Options::new());
    let model = "adaptive_instances";
    let config = |count: u32| adaptive_config(model, 16).instances(count);
    server.load(&config(2), SavedModel::Small("add_one"));
    assert_workers(&server, 2);
    let before = server.client().statistics(model);
    let queued = in_parallel(6, 600, |number| infer_add_one(&server, model, number, 2));
    let after = server.client().statistics_of(model, before.success.count + 600);
    let seen = seen(queued);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);

    let send = || {
        infer_add_one(&server, model, 5, 3);
        true
    };
    let (answered, refused) = requests_while(4, send, || {
        for count in [3, 1, 2, 3, 1, 3] {
            let file = server.repository().join(model).join("config.pbtxt");
            std::fs::write(file, config(count).text()).expect("the repository can be written");
            server.client().load(model).expect("another count of instances");
            // A server that loads the model anew keeps the old one until its requests are answered.
            assert_workers(&server, count as usize);
            std::thread::sleep(Duration::from_millis(150));
        }
    });
    println!("{answered} answered while the count of instances changed");
    assert_eq!(refused, 0, "the model was there all the time");
    assert!(answered > 100, "only {answered} requests were answered");
    unload_and_wait(&server, model);
    assert_workers(&server, 0);
    assert_eq!(server.stop(), 0, "the server ends in order");
}

/// The model's executions take 20 ms whatever their size, and a request comes every 15 ms: one by one they
/// would be more and more late.
#[test]
fn with_a_target_steady_requests_share_executions_and_are_in_time() {
    let server = prompt_server();
    let target_ms = 400;
    in_one_of_three(|attempt| {
        let model = format!("adaptive_target_{attempt}");
        let config = slow_adaptive_config(&model, 16).parameter("latency_target_ms", &target_ms.to_string());
        server.load(&config, SavedModel::Small("slow"));
        // Its executions change something, so the backend has not tried the model at load, and learns from these.
        for _ in 0..10 {
            infer(&server, &model, 1, &slow_request(20.0));
        }
        let count = 120;
        let queued = in_parallel(count, count, |number| {
            std::thread::sleep(Duration::from_millis(15) * number as u32);
            infer(&server, &model, 1, &slow_request(20.0)).1
        });
        let executions = batches(&queued).len();
        let mut latencies: Vec<i64> = queued.iter().map(|one| one.times.request_latency).collect();
        latencies.sort_unstable();
        let median_ms = latencies[count / 2] as f64 / 1e6;
        println!("{executions} executions for {count} requests, median latency {median_ms:.1} ms");
        // All are answered, the last ones too, after which nothing came. And one alone, much later.
        std::thread::sleep(Duration::from_millis(500));
        infer(&server, &model, 1, &slow_request(1.0));
        check(executions <= count * 3 / 4, || format!("{executions} executions for {count} requests"))?;
        let in_time = median_ms < f64::from(target_ms);
        check(in_time, || format!("median latency {median_ms} ms, target {target_ms} ms"))
    });
}

/// They come whatever is answered: clients who come again only once they are answered are not waited for.
#[test]
fn a_target_is_waited_for_when_requests_come_often() {
    let server = prompt_server();
    let count = 200;
    let executions = |model: &str| {
        let queued = in_parallel(count, count, |number| {
            std::thread::sleep(Duration::from_millis(5) * number as u32);
            infer_add_one(&server, model, number, 1)
        });
        batches(&queued).len()
    };
    in_one_of_three(|attempt| {
        let (model, without) =
            (format!("adaptive_waits_{attempt}"), format!("adaptive_waits_for_none_{attempt}"));
        server.load(&adaptive_config(&without, 32), SavedModel::Small("add_one"));
        let target = adaptive_config(&model, 32).parameter("latency_target_ms", "200");
        server.load(&target, SavedModel::Small("add_one"));
        let (waiting, not) = (executions(&model), executions(&without));
        println!("{waiting} executions for {count} requests with a target, {not} without");
        let shared = waiting < not / 2;
        check(shared, || format!("{waiting} executions with a target of 200 ms, {not} without"))
    });
}
