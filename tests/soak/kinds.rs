//! The kinds of requests: what each sends, and which ends are right.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::record::End;
use crate::support::*;

/// The error of Inception-v3's answers, relative to the largest value, that is rounding. It depends on how TensorFlow shares
/// the work among its threads: 1e-6 as a rule, and above 1e-5 at times where the machine is busy. The answers to two of the
/// pictures differ by 0.6 at least.
const ROUNDING: f64 = 1e-4;

/// A model of the soak, and what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `add_one`: one to four rows, each value its own.
    AddOne,
    /// `embedding`: rows of a variable.
    Embedding,
    /// `failing`: some requests have a value that fails the whole batch.
    Failing,
    /// `add_one` that panics for some requests.
    Panics,
    /// `slow`: some requests may wait for a short time only, and the queue is short.
    Slow,
    /// `add_one` that is not always there.
    ComesAndGoes,
    /// Requests that are not well formed, to `add_one`.
    Malformed,
    /// Inception-v3.
    Inception,
}

/// Sends the request with this number to `model` and judges its end. The same seed and number make the same request.
pub fn send(client: &Client, kind: Kind, model: &str, seed: u64, number: u64) -> End {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x9E37_79B9));
    // The first numbers of neighbouring seeds are alike.
    for _ in 0..4 {
        random.below(2);
    }
    match kind {
        Kind::AddOne | Kind::ComesAndGoes => {
            let (request, values) = add_one(&mut random, 4);
            let allowed = |refusal: &Refusal| kind == Kind::ComesAndGoes && is_not_there(refusal);
            judge(client, model, &request, &[("y", add_one_answer(&values))], 0.0, allowed)
        }
        Kind::Embedding => {
            let rows = 1 + random.below(3) as usize;
            let indices: Vec<i32> = (0..rows * 3).map(|_| random.below(10) as i32).collect();
            let request = InferRequest::new(vec![Tensor::int32("x", &[rows as i64, 3], &indices)]);
            let y = indices.iter().flat_map(|&index| (0..8).map(move |at| (index * 8 + at) as f32));
            judge(client, model, &request, &[("y", y.collect()), ("wide", vec![8.0; rows])], 0.0, |_| false)
        }
        Kind::Failing => {
            let bad = random.below(10) == 0;
            let mut values = random.floats(4);
            if bad {
                values[2] = f32::NAN;
            }
            let request = InferRequest::new(vec![Tensor::fp32("x", &[1, 4], &values)]);
            // A good one, too, where it was in the batch of a bad one.
            let planted = |refusal: &Refusal| refusal.message.contains("planted failure");
            let end = judge(client, model, &request, &[("y", values)], 0.0, planted);
            must_fail(bad, end)
        }
        Kind::Panics => {
            let bad = random.below(10) == 0;
            let (request, values) = add_one(&mut random, 2);
            let request = if bad { request.with_id("panic") } else { request };
            let planted = |refusal: &Refusal| refusal.message.contains("planted by the parameter test_panic");
            let end = judge(client, model, &request, &[("y", add_one_answer(&values))], 0.0, planted);
            must_fail(bad, end)
        }
        Kind::Slow => {
            // Whole milliseconds, and a fraction of its own, which is no time to speak of.
            let milliseconds = 1.0 + random.below(20) as f32 + random.below(1024) as f32 / 65536.0;
            let mut request = slow_request(milliseconds);
            if random.below(4) == 0 {
                request = request.with_timeout_us(1000 + random.below(30_000));
            }
            let (waits, short) = (request.timeout_us.is_some(), ["was not run", "its timeout is"]);
            let allowed = |refusal: &Refusal| {
                let late = waits && short.iter().all(|part| refusal.message.contains(part));
                refusal.status == 503 && (late || refusal.message.contains("retry later"))
            };
            judge(client, model, &request, &[("y", vec![milliseconds])], 0.0, allowed)
        }
        Kind::Malformed => {
            let (mut request, _) = add_one(&mut random, 4);
            let input = &mut request.inputs[0];
            match random.below(4) {
                0 => input.shape[1] = 15,
                1 => input.bytes.truncate(16),
                2 => input.datatype = "INT32".into(),
                _ => input.name = "z".into(),
            }
            judge(client, model, &request, &[], 0.0, |refusal| refusal.status == 400)
        }
        Kind::Inception => {
            let reference = inception_reference();
            let (first, rows) = (random.below(16) as usize, 1 + random.below(2) as usize);
            let request = inception_request(&reference.input(first, rows));
            let expected = [("predictions", reference.expected(first, rows))];
            judge(client, model, &request, &expected, ROUNDING, |_| false)
        }
    }
}

/// A request of one to `most` rows, and its values.
pub fn add_one(random: &mut Random, most: u64) -> (InferRequest, Vec<f32>) {
    let rows = 1 + random.below(most) as usize;
    let values = random.floats(rows * ADD_ONE_WIDTH as usize);
    (add_one_request(&values), values)
}

/// What a model that comes and goes may answer when it is not there.
fn is_not_there(refusal: &Refusal) -> bool {
    let told = [
        "not ready",
        "unknown model",
        "not found",
        "no available versions",
        "unavailable",
        "not at ready state",
    ];
    let message = refusal.message.to_lowercase();
    [400, 404, 503].contains(&refusal.status) && told.iter().any(|part| message.contains(part))
}

fn must_fail(bad: bool, end: End) -> End {
    match end {
        End::Answered if bad => End::Wrong("a request that was to fail was answered".into()),
        end => end,
    }
}

/// Sends a request and compares what it answers, with this error relative to the largest value. Where nothing is expected,
/// it has to be refused.
pub fn judge(
    client: &Client,
    model: &str,
    request: &InferRequest,
    expected: &[(&str, Vec<f32>)],
    error: f64,
    allowed: impl Fn(&Refusal) -> bool,
) -> End {
    // What is no answer at all makes the client panic.
    let sent = catch_unwind(AssertUnwindSafe(|| client.try_infer(model, request)));
    let answer = match sent {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return End::Lost(error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            return End::Wrong(format!("no answer of the protocol: {}", text.unwrap_or_default()));
        }
    };
    match answer {
        Err(refusal) if allowed(&refusal) => End::Refused,
        Err(refusal) => End::Wrong(format!("HTTP {}: {}", refusal.status, refusal.message)),
        Ok(_) if expected.is_empty() => End::Wrong("a request that was to be refused was answered".into()),
        Ok(answer) => {
            for (name, expected) in expected {
                let Some(output) = answer.outputs.iter().find(|output| output.name == *name) else {
                    return End::Wrong(format!("no output '{name}'"));
                };
                let found = output.as_f32();
                let off = relative_error(&found, expected);
                if found != *expected && (off.is_nan() || off > error) {
                    let start = |values: &[f32]| format!("{:?}", &values[..values.len().min(16)]);
                    return End::Wrong(format!(
                        "'{name}' of shape {:?} is off by {off:e} and begins with {}, expected {} values that begin with {}",
                        output.shape,
                        start(&found),
                        expected.len(),
                        start(expected)
                    ));
                }
            }
            End::Answered
        }
    }
}
