//! Strings: exact over every protocol, each request its own, and what is no list of strings harms nobody else.

use crate::latency::{Seen, assert_batches_agree, assert_sums_equal};
use crate::support::*;

/// Words of a request to the model `words`, in each row.
const WORDS: usize = 3;

fn words_config(name: &str) -> ModelConfig {
    ModelConfig::new(name, 11)
        .input("x", "BYTES", &[-1])
        .output("length", "INT32", &[-1])
        .output("joined", "BYTES", &[1])
        .output("id", "INT64", &[-1])
}

/// Words that no other request has, but for some that the model knows.
fn words(number: usize, rows: usize) -> Vec<Vec<u8>> {
    let mut random = Random::new(number as u64);
    let mut word = |index: usize| match random.below(5) {
        0 => b"one".to_vec(),
        1 => b"two".to_vec(),
        _ => format!("{number}/{index} ").repeat(random.below(12) as usize).into_bytes(),
    };
    (0..rows * WORDS).map(&mut word).collect()
}

fn request(words: &[Vec<u8>]) -> InferRequest {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    InferRequest::new(vec![Tensor::strings("x", &[(words.len() / WORDS) as i64, WORDS as i64], &words)])
}

fn assert_answers(answer: &Answer, words: &[Vec<u8>]) {
    let rows = (words.len() / WORDS) as i64;
    let joined: Vec<Vec<u8>> = words.chunks(WORDS).map(|row| row.join(&b' ')).collect();
    assert_eq!(answer.output("joined").shape, [rows, 1]);
    assert_eq!(answer.output("joined").as_strings(), joined);
    let lengths: Vec<u8> = words.iter().flat_map(|word| (word.len() as i32).to_le_bytes()).collect();
    assert_eq!(answer.output("length"), &Tensor::new("length", "INT32", &[rows, WORDS as i64], lengths));
    let id = |word: &Vec<u8>| match &word[..] {
        b"one" => 1,
        b"two" => 2,
        _ => -1,
    };
    assert_eq!(answer.output("id").as_i64(), words.iter().map(id).collect::<Vec<_>>());
}

#[test]
fn strings_are_exact_over_every_protocol() {
    let server = shared_server();
    let model = "strings_exact";
    let config = ModelConfig::new(model, 32).input("x", "BYTES", &[1]).output("y", "BYTES", &[1]);
    server.load(&config, SavedModel::Small("text"));
    let found = run_script("client/strings.py", &[&server.http_url(), &server.grpc_url(), model]);
    assert_eq!(found["wrong"], serde_json::json!([]));
    assert_eq!(found["compared"], 4 * 11 + 3 * 4);
}

/// Requests of several rows from several threads; the sums of their latencies are the server's.
fn assert_served(server: &Server, model: &str) {
    let before = server.client().statistics(model);
    let count = 400;
    let seen = in_parallel(6, count, |number| {
        let rows = 1 + Random::new(number as u64).below(4) as usize;
        let words = words(number, rows);
        let sent = monotonic_ns();
        let answer = server.client().infer(model, &request(&words)).expect("the request is good");
        let received = monotonic_ns();
        assert_answers(&answer, &words);
        Seen { rows: rows as i64, sent, received, latency: Latency::of_outputs(&answer, Some(rows as i64)) }
    });
    let after = server.client().statistics_of(model, before.success.count + count as u64);
    assert_sums_equal(&seen, &before, &after);
    assert_batches_agree(&seen, &before, &after);
    let merged = seen.iter().filter(|s| s.latency.executed_batch_size > s.rows).count();
    assert!(merged > 20, "only {merged} requests shared an execution; the test needs merged ones");
}

#[test]
fn requests_of_a_batch_get_their_own_strings() {
    let server = shared_server();
    let model = "strings_batched";
    server.load(&words_config(model).latency_outputs().dynamic_batching(300), SavedModel::Small("words"));
    assert_served(&server, model);
}

#[test]
fn strings_are_filled_up_to_a_bucket() {
    let server = shared_server();
    let model = "strings_in_buckets";
    let config = ModelConfig::new(model, 11).input("x", "BYTES", &[1]).output("y", "BYTES", &[1]);
    let config = config.latency_outputs().buckets("4,8").dynamic_batching(300);
    server.load(&config, SavedModel::Small("text"));
    in_parallel(6, 400, |number| {
        let rows = 1 + number % 5;
        let words = words(number, rows);
        let words: Vec<&[u8]> = words.iter().take(rows).map(Vec::as_slice).collect();
        let request = InferRequest::new(vec![Tensor::strings("x", &[rows as i64, 1], &words)]);
        let answer = server.client().infer(model, &request).expect("the request is good");
        let upper: Vec<Vec<u8>> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
        assert_eq!(answer.output("y").as_strings(), upper);
        let padded = answer.output(PADDED_OUTPUT).as_i64()[0];
        assert!([4, 8, 11].contains(&padded), "{padded}");
    });
}

/// Lists of strings that are none, and what is said of them.
fn malformed() -> Vec<Vec<u8>> {
    let good = Tensor::strings("x", &[1, 3], &[b"one", b"two", b"three"]).bytes;
    let cut = |len: usize| good[..len].to_vec();
    let mut longer = good.clone();
    longer[0] = 200;
    let mut huge = good.clone();
    huge[..4].fill(255);
    vec![
        Vec::new(),
        cut(3),
        cut(14),
        cut(16),
        cut(good.len() - 1),
        [&good[..], &[0; 4]].concat(),
        [&good[..], b"x"].concat(),
        longer,
        huge,
    ]
}

#[test]
fn what_is_no_list_of_strings_is_that_requests_own_error() {
    let server = shared_server();
    let model = "strings_malformed";
    server.load(&words_config(model).dynamic_batching(2000), SavedModel::Small("words"));
    let malformed = malformed();
    in_parallel(6, 20 * malformed.len(), |number| {
        if number % 2 == 0 {
            let words = words(number, 1);
            assert_answers(
                &server.client().infer(model, &request(&words)).expect("the request is good"),
                &words,
            );
            return;
        }
        let bytes = malformed[number / 2 % malformed.len()].clone();
        let bad = InferRequest::new(vec![Tensor::new("x", "BYTES", &[1, 3], bytes.clone())]);
        let refusal = server.client().infer(model, &bad).expect_err("these are not three strings");
        // Some servers look at them themselves.
        assert_eq!(refusal.status, 400, "{bytes:?}: {}", refusal.message);
        let told = ["'x'", "string"].iter().all(|part| refusal.message.contains(part));
        assert!(told || bytes.is_empty(), "{bytes:?}: {}", refusal.message);
    });
}

/// In shared memory no server looks at them before.
#[test]
fn what_is_no_list_of_strings_in_shared_memory_is_refused() {
    let server = shared_server();
    let model = "strings_malformed_shared";
    server.load(&words_config(model), SavedModel::Small("words"));
    let region = Region::new(&server, 64);
    for (number, bytes) in malformed().into_iter().filter(|bytes| !bytes.is_empty()).enumerate() {
        region.write_bytes(0, &bytes);
        let body = serde_json::json!({ "inputs": [region.input_of("x", "BYTES", &[1, 3], 0, bytes.len())] });
        let refusal = server.client().infer_body(model, None, body.to_string().as_bytes());
        let refusal = refusal.expect_err("these are not three strings");
        assert_eq!(refusal.status, 400, "{bytes:?}: {}", refusal.message);
        let told = ["'x'", "string"].iter().all(|part| refusal.message.contains(part));
        assert!(told, "{number}, {bytes:?}: {}", refusal.message);
    }
}

#[test]
fn no_words_and_empty_words_are_answered() {
    let server = shared_server();
    let model = "strings_empty";
    server.load(&words_config(model), SavedModel::Small("words"));
    let empty = vec![Vec::new(); WORDS];
    assert_answers(&server.client().infer(model, &request(&empty)).expect("empty words"), &empty);
    let none = InferRequest::new(vec![Tensor::strings("x", &[2, 0], &[])]);
    let answer = server.client().infer(model, &none).expect("rows without words");
    assert_eq!(answer.output("joined").as_strings(), [b"", b""]);
    assert_eq!(answer.output("length").shape, [2, 0]);
}

/// A graph may keep strings for longer than the request that brought them.
#[test]
fn strings_that_a_graph_keeps_outlive_their_request() {
    let server = shared_server();
    let model = "remembers_text";
    let config = ModelConfig::new(model, 8).input("x", "BYTES", &[2]).output("before", "BYTES", &[2]);
    server.load(&config, SavedModel::Small("remembers_text"));
    let pair =
        |number: usize| [format!("short {number}"), format!("{number} is long ").repeat(1000 + number)];
    let send = |number: usize| {
        let pair = pair(number);
        let x = Tensor::strings("x", &[1, 2], &[pair[0].as_bytes(), pair[1].as_bytes()]);
        server.client().infer(model, &InferRequest::new(vec![x])).expect("the request is good")
    };
    send(0);
    for number in 1..50 {
        let answer = send(number);
        let before = pair(number - 1);
        assert_eq!(answer.output("before").as_strings(), [before[0].as_bytes(), before[1].as_bytes()]);
    }
}

#[test]
fn strings_are_completed_from_the_signature() {
    if !completes_configurations("completed configurations") {
        return;
    }
    let server = shared_server();
    let model = "strings_completed";
    server.load(&ModelConfig::new(model, 8), SavedModel::Small("with_text"));
    let config = server.client().get(&format!("/v2/models/{model}/config")).expect("the server answers").1;
    assert!(config.contains("TYPE_STRING"), "{config}");
    let values = Random::new(13).floats(8);
    let request = InferRequest::new(vec![Tensor::fp32("x", &[2, 4], &values)]);
    let answer = server.client().infer(model, &request).expect("the request is good");
    assert_eq!(answer.output("y").as_f32(), add_one_answer(&values));
    assert_eq!(answer.output("label").shape, [2, 4]);
    assert_eq!(answer.output("label").as_strings().len(), 8);
}
