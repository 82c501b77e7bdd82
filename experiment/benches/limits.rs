//! The limits of the tool: how many requests per second one process sends, and what it adds to latency.
//!
//! The server is a stub in another process (this program, started again), because a real one would be the limit. It has a
//! thread for each connection, which reads requests and writes the same response each time.
//!
//! 1. Closed loop against a stub that responds at once: requests/s, latency, client CPU time per request.
//! 2. Low load against a stub that responds after a delay and reports it: the difference from the client's latency. It
//!    includes the transfer between the processes and, in an open loop, whose latency counts from when a request was
//!    due, the time until the client is woken.
//!
//! Run with `cargo bench -p triton-experiment`; `-- --quick` is a short test of the program.

#[path = "../src/load/stub.rs"]
mod stub;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stub::Answer;
use triton_experiment::arrivals::constant;
use triton_experiment::clock::now_ns;
use triton_experiment::load::{
    Event, Fill, Input, InputData, Output, Pacing, PreparedRequest, SharedRange, Totals, Workload, start,
    tensor,
};
use triton_experiment::record::{SERVER_VALUES, WindowRule};
use triton_experiment::times::Times;

const CONCURRENCIES: [usize; 3] = [1, 4, 16];
const DELAY: Duration = Duration::from_millis(2);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = &arguments[..]
        && flag == "--stub"
    {
        return serve(kind);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    throughput(Duration::from_millis(if quick { 300 } else { 5000 }));
    latency_error(if quick { 50 } else { 3000 });
}

fn throughput(length: Duration) {
    println!("Closed loop, {} s each, with a stub that responds at once:\n", length.as_secs_f64());
    println!(
        "{:<16}{:>12}{:>12}{:>10}{:>10}{:>18}",
        "request", "concurrency", "requests/s", "p50 us", "p99 us", "client CPU us"
    );
    for kind in ["binary", "shared"] {
        let stub = Stub::start(kind);
        for concurrency in CONCURRENCIES {
            let cpu_ns = cpu_time_ns();
            let totals = run(&stub, request(kind), Pacing::Closed { concurrency }, Some(length));
            let cpu_ns = cpu_time_ns() - cpu_ns;
            let latency = &totals.all.latency;
            println!(
                "{:<16}{:>12}{:>12.0}{:>10.1}{:>10.1}{:>18.1}",
                kind,
                concurrency,
                latency.count() as f64 / totals.all.seconds(),
                percentile_us(latency, 0.5),
                percentile_us(latency, 0.99),
                cpu_ns as f64 / 1e3 / latency.count() as f64,
            );
        }
    }
}

fn latency_error(requests: usize) {
    let stub = Stub::start("delay");
    let place =
        SERVER_VALUES.iter().position(|name| *name == "request_latency_ns").expect("it is one of them");
    let mean_us = |times: &Times| times.mean().expect("there were answers") / 1e3;
    println!("\nA stub that responds after {DELAY:?}, in us:\n");
    println!("{:<26}{:>8}{:>10}{:>10}{:>12}", "load", "", "client", "stub", "difference");
    for (load, pacing, length) in [
        ("closed, concurrency 1", Pacing::Closed { concurrency: 1 }, Some(DELAY * requests as u32)),
        (
            "open, 100 requests/s",
            Pacing::Open { arrivals: Box::new(constant(100.0).take(requests)), max_connections: 16 },
            None,
        ),
    ] {
        let totals = run(&stub, request("binary"), pacing, length);
        let (client, server) = (&totals.all.latency, &totals.all.server_times[place]);
        for (name, client, server) in [
            ("mean", mean_us(client), mean_us(server)),
            ("p50", percentile_us(client, 0.5), percentile_us(server, 0.5)),
            ("p99", percentile_us(client, 0.99), percentile_us(server, 0.99)),
        ] {
            println!("{load:<26}{name:>8}{client:>10.1}{server:>10.1}{:>12.1}", client - server);
        }
    }
}

/// A load until it ends, or for this long.
fn run(stub: &Stub, request: PreparedRequest, pacing: Pacing, length: Option<Duration>) -> Totals {
    let running = start(Workload {
        address: stub.address,
        host: stub.address.to_string(),
        requests: vec![request],
        draws: 1,
        expected: Vec::new().into(),
        pacing,
        rule: WindowRule {
            warm_up_ns: 0,
            min_ns: u64::MAX,
            min_requests: 0,
            late_ns: 1_000_000,
            keep_each: false,
        },
        timeout: Duration::from_secs(10),
    })
    .expect("the load starts");
    if let Some(length) = length {
        std::thread::sleep(length);
        running.stop();
    }
    loop {
        if let Event::Ended(totals) = running.events().recv().expect("the load ends") {
            assert_eq!(totals.all.failed(), 0, "{:?}", totals.all.failures);
            return *totals;
        }
    }
}

/// For a tensor of 16 numbers, sent and answered or in shared memory. The stub has no memory to look at.
fn request(kind: &str) -> PreparedRequest {
    let shape = vec![1, 16];
    let range = |region: &str| SharedRange { region: region.to_owned(), offset: 0, byte_size: 64 };
    let (data, shared) = match kind {
        "shared" => (InputData::Shared(range("input")), Some(range("output"))),
        _ => {
            let data = tensor("FP32", &shape, Fill::Random { seed: 0 }).expect("a known datatype");
            (InputData::Binary(data), None)
        }
    };
    let input = Input { name: "x".to_owned(), datatype: "FP32".to_owned(), shape, data };
    let output = Output { name: "y".to_owned(), shared };
    PreparedRequest::new("stub", None, &[input], &[output]).expect("a good name")
}

fn percentile_us(times: &Times, quantile: f64) -> f64 {
    times.histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// User and system time of this process.
fn cpu_time_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The stub's process. It ends with this value, or with this process.
struct Stub {
    process: Child,
    address: SocketAddr,
}

impl Stub {
    fn start(kind: &str) -> Self {
        let program = std::env::current_exe().expect("this program's own path is known");
        let mut process = Command::new(program)
            .args(["--stub", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the stub tells its address");
        let address = line.trim().parse().expect("the stub tells its address");
        Self { process, address }
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("the stub ends with its input");
    }
}

/// The stub itself.
fn serve(kind: &str) {
    let answer = |json: &str, tensor: &[u8]| {
        let headers = format!("Inference-Header-Content-Length: {}\r\n", json.len());
        Answer::response(200, &headers, &[json.as_bytes(), tensor].concat())
    };
    let outputs = |parameters: &str| {
        format!(
            r#"{{"model_name":"stub","model_version":"1","outputs":[{{"name":"y","datatype":"FP32","shape":[1,16],"parameters":{parameters}}}]}}"#
        )
    };
    let binary = outputs(r#"{"binary_data_size":64}"#);
    let fixed =
        |answer: Answer| move |_, _, _: &[u8]| Answer { bytes: answer.bytes.clone(), close: answer.close };
    let address = match kind {
        "binary" => stub::serve(fixed(answer(&binary, &[0; 64]))),
        "shared" => stub::serve(fixed(answer(
            &outputs(
                r#"{"shared_memory_region":"output","shared_memory_offset":0,"shared_memory_byte_size":64}"#,
            ),
            &[],
        ))),
        "delay" => stub::serve(move |_, _, _| {
            let begin_ns = now_ns();
            std::thread::sleep(DELAY);
            let took_ns = now_ns() - begin_ns;
            let parameters = format!(r#"{{"parameters":{{"request_latency_ns":{took_ns}}},"#);
            answer(&binary.replacen('{', &parameters, 1), &[0; 64])
        }),
        _ => panic!("--stub {kind}: expected binary, shared or delay"),
    };
    println!("{address}");
    // Until the process that started it is gone.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the input is a pipe");
}
