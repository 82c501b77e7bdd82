//! Servers that are not to be trusted: the command against a stub.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{fail, points, quick, results, succeed};

/// How the stub answers a request.
enum Answer {
    /// Status 200 and this body.
    Body(String),
    /// Sent as it is, and then this again and again, until the client hangs up.
    Endless(String, &'static [u8]),
    /// Nothing, until the client hangs up.
    Silence,
}

const SPACES: &[u8] = &[b' '; 64 << 10];

/// Answers each request by its method and path.
fn stub(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || serve(stream, &*answer));
        }
    });
    url
}

fn serve(stream: TcpStream, answer: &dyn Fn(&str) -> Answer) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim().is_empty() => break,
                Ok(_) => lines.push(line.to_ascii_lowercase()),
            }
        }
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if stream.read_exact(&mut vec![0; length.unwrap_or(0)]).is_err() {
            return;
        }
        let request = lines[0].trim().trim_end_matches(" http/1.1").to_owned();
        let sent = match answer(&request) {
            Answer::Body(body) => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                stream.get_mut().write_all((head + &body).as_bytes())
            }
            Answer::Endless(head, more) => {
                let mut sent = stream.get_mut().write_all(head.as_bytes());
                while sent.is_ok() {
                    sent = stream.get_mut().write_all(more);
                }
                sent
            }
            Answer::Silence => {
                let _ = stream.read(&mut [0]);
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What a server answers to all but inference.
fn triton(request: &str) -> Answer {
    Answer::Body(match request {
        "get /v2" => json!({"name": "triton", "version": "2.51.0", "extensions": ["statistics"]}).to_string(),
        "get /v2/models/m" => json!({
            "name": "m", "versions": ["1"], "platform": "",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
        })
        .to_string(),
        "get /v2/models/m/config" => json!({"name": "m", "max_batch_size": 8}).to_string(),
        "get /v2/models/m/stats" => json!({"model_stats": []}).to_string(),
        _ => json!({"outputs": []}).to_string(),
    })
}

fn sweep(url: &str, folder: &Path) -> std::process::Command {
    let mut sweep = quick("sweep");
    sweep.args(["--url", url, "--model=m", "--concurrency=2", "--power=none", "--output"]).arg(folder);
    sweep
}

/// C6 of the cases that this tool was built after: one response never comes.
#[test]
fn a_response_that_never_comes_ends_the_point_at_its_time() {
    let requests = AtomicUsize::new(0);
    let url = stub(move |request| match request.ends_with("/infer") {
        true if requests.fetch_add(1, Ordering::SeqCst) == 20 => Answer::Silence,
        true => {
            thread::sleep(Duration::from_millis(5));
            triton(request)
        }
        false => triton(request),
    });
    let folder = tempfile::tempdir().unwrap();
    let results_folder = folder.path().join("results");
    let begin = Instant::now();
    succeed(sweep(&url, &results_folder).args(["--timeout=3600", "--max-time=3", "--tolerance=0"]));
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    let results = results(&results_folder);
    let point = &points(&results)[0];
    assert_eq!(point["settled"], false);
    let warnings = point["warnings"].to_string();
    assert!(warnings.contains("1 requests failed outside the measured part"), "{warnings}");
}

#[test]
fn a_server_that_answers_nothing_is_told_at_about_the_time_of_a_point() {
    let url = stub(|request| if request.ends_with("/infer") { Answer::Silence } else { triton(request) });
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let (code, errors) =
        fail(sweep(&url, &folder.path().join("results")).args(["--timeout=3600", "--max-time=1"]));
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    assert_eq!(code, 1);
    assert!(
        errors.contains("a test request of this point failed: timeout: no response within 3 s"),
        "{errors}"
    );
}

#[test]
fn answers_without_end_are_one_clear_line() {
    let json = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"name\": \"";
    let lying = "HTTP/1.1 200 OK\r\nContent-Length: 1152921504606846976\r\n\r\n[";
    for (path, part) in
        [("get /v2", "/v2"), ("get /v2/models/m", "/v2/models/m"), ("get /v2/models/m/config", "config")]
    {
        for head in [json, lying] {
            let url = stub(move |request| match request == path {
                true => Answer::Endless(head.to_owned(), SPACES),
                false => triton(request),
            });
            let folder = tempfile::tempdir().unwrap();
            let (code, errors) = fail(&mut sweep(&url, &folder.path().join("results")));
            assert_eq!((code, errors.trim().lines().count()), (1, 1), "{path}: {errors}");
            assert!(errors.contains(part) && !errors.contains("panicked"), "{path}: {errors}");
        }
    }
    // Inference.
    let url = stub(|request| match request.ends_with("/infer") {
        true => Answer::Endless("HTTP/1.1 400 X\r\n\r\n{\"error\": \"no".to_owned(), SPACES),
        false => triton(request),
    });
    let folder = tempfile::tempdir().unwrap();
    let (code, errors) = fail(&mut sweep(&url, &folder.path().join("results")));
    assert_eq!((code, errors.trim().lines().count()), (1, 1), "{errors}");
    assert!(errors.contains("HTTP 400"), "{errors}");
}

#[test]
fn statistics_that_cannot_be_read_are_a_warning() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n{\"model_stats\": [",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1, 2, 3]",
    ] {
        let url = stub(move |request| match request.ends_with("/stats") {
            true => Answer::Endless(head.to_owned(), SPACES),
            false => triton(request),
        });
        let folder = tempfile::tempdir().unwrap();
        let results_folder = folder.path().join("results");
        succeed(&mut sweep(&url, &results_folder));
        let results = results(&results_folder);
        let warnings = points(&results)[0]["warnings"].to_string();
        assert!(warnings.contains("statistics could not be read"), "{warnings}");
    }
}

#[test]
fn wrong_types_are_one_clear_line() {
    for (path, body, part) in [
        ("get /v2", r#"{"name": 5, "version": []}"#, "not an inference server"),
        ("get /v2/models/m", r#"{"name": "m", "inputs": 7, "outputs": {}}"#, "no list 'inputs'"),
        (
            "get /v2/models/m",
            r#"{"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1e300]}], "outputs": []}"#,
            "no integers",
        ),
        (
            "get /v2/models/m",
            r#"{"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 9223372036854775807]}], "outputs": []}"#,
            "x",
        ),
        ("get /v2/models/m/config", r#"[1]"#, "no batch dimension"),
    ] {
        let url = stub(move |request| match request == path {
            true => Answer::Body(body.to_owned()),
            false => triton(request),
        });
        let folder = tempfile::tempdir().unwrap();
        let (code, errors) = fail(sweep(&url, &folder.path().join("results")).arg("--batch=2"));
        assert_eq!((code, errors.trim().lines().count()), (1, 1), "{body}: {errors}");
        assert!(errors.contains(part) && !errors.contains("panicked"), "{body}: {errors}");
    }
}

#[test]
fn names_are_neither_markup_nor_escapes() {
    const EVIL: &str = "<script>alert(1)</script>\u{1b}[2J\u{202e}";
    let metadata = json!({"name": EVIL, "version": EVIL, "extensions": [EVIL]}).to_string();
    let model = json!({
        "name": "m", "versions": [EVIL], "platform": EVIL,
        "inputs": [{"name": EVIL, "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": EVIL, "datatype": "FP32", "shape": [-1, 1]}],
    })
    .to_string();
    let requests = AtomicUsize::new(0);
    let url = stub(move |request| match request {
        "get /v2" => Answer::Body(metadata.clone()),
        "get /v2/models/m" => Answer::Body(model.clone()),
        _ if request.ends_with("/infer") && requests.fetch_add(1, Ordering::SeqCst) > 5 => {
            thread::sleep(Duration::from_millis(2));
            Answer::Body(json!({"error": EVIL}).to_string())
        }
        _ => triton(request),
    });
    let folder = tempfile::tempdir().unwrap();
    let results_folder = folder.path().join("results");
    let output = sweep(&url, &results_folder).output().unwrap();
    for text in [output.stdout, output.stderr] {
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    let report = std::fs::read_to_string(results_folder.join("report.html")).unwrap();
    assert!(!report.contains("<script>") && report.contains("&#60;script&#62;"), "markup reached the report");
}
