//! Loads against servers that are not to be trusted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::tests::{closed, failures, ms, open, request, run};
use super::*;
use crate::answers::Output as Wanted;
use crate::arrivals::constant;
use crate::load::stub::{Answer, serve};

/// A server that answers each connection's first request with this, and then with `more` over and over, until the client
/// has had enough. Nothing: it stays silent.
fn endless(head: &str, more: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, head) = (listener.local_addr().unwrap(), head.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, head) = (stream.unwrap(), head.clone());
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let mut sent = stream.write_all(head.as_bytes());
                while sent.is_ok() && !more.is_empty() {
                    sent = stream.write_all(more);
                }
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    address
}

const SPACES: &[u8] = &[b' '; 64 << 10];

#[test]
fn responses_without_end_are_given_up_when_they_are_too_long() {
    let output =
        r#"{"outputs":[{"name":"y","datatype":"INT8","shape":[4],"parameters":{"binary_data_size":4}}]}"#;
    let binary = format!(
        "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: {}\r\nContent-Length: 1152921504606846976\r\n\r\n{output}",
        output.len()
    );
    for (head, kind, message) in [
        (binary, "bad response", "announces 4 bytes of tensors, but the body has"),
        ("HTTP/1.1 503 X\r\nContent-Length: 1152921504606846976\r\n\r\nfull".to_owned(), "HTTP 503", "full"),
        ("HTTP/1.1 500 X\r\n\r\nbroken".to_owned(), "HTTP 500", "broken"),
    ] {
        let (_, totals) = run(closed(endless(&head, SPACES), 1), ms(2000));
        let found = failures(&totals);
        assert!(found.iter().any(|found| found.0 == kind && found.2.contains(message)), "{head}: {found:?}");
    }
}

#[test]
fn a_header_without_end_and_one_that_lies_are_told() {
    let (_, totals) = run(closed(endless("HTTP/1.1 200 OK\r\nx: ", SPACES), 1), ms(2000));
    assert_eq!(failures(&totals)[0].0, "bad response", "{:?}", failures(&totals));
    // So much JSON does not come.
    let lying = "HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 1152921504606846976\r\nContent-Length: 2\r\n\r\n{}";
    let (_, totals) = run(closed(endless(lying, b""), 1), ms(300));
    assert!(
        failures(&totals)[0].2.contains("announces 1152921504606846976 bytes of JSON"),
        "{:?}",
        failures(&totals)
    );
}

#[test]
fn a_silent_server_is_given_up_when_the_load_is_cut() {
    for (head, more) in
        [("", &b""[..]), ("HTTP/1.1 200 OK\r\n", b""), ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"")]
    {
        for (number, workload) in
            [(3, closed(endless(head, more), 3)), (2, open(endless(head, more), constant(100.0).take(2), 4))]
        {
            let running = start(workload).unwrap();
            thread::sleep(ms(200));
            running.stop();
            let begin = Instant::now();
            running.cut();
            let totals = running.ended(|| Ok(())).unwrap();
            assert!(begin.elapsed() < Duration::from_secs(10), "it waited for the timeout");
            let found = failures(&totals);
            assert_eq!((found[0].0, found[0].1), ("timeout", number), "{found:?}");
            assert!(found[0].2.contains("--max-time"), "{found:?}");
        }
    }
}

#[test]
fn json_is_bounded_too() {
    let mut reader = super::response::Reader::default();
    reader.begin(200, None);
    let piece = vec![b' '; 16 << 20];
    let mut pushed = 0;
    while !reader.is_over() {
        assert!(pushed < 100, "it is never enough");
        reader.push(&piece);
        pushed += 1;
    }
    assert!(reader.end().unwrap_err().message.contains("more than 256 MiB of JSON"));
    // It reads on.
    reader.begin(200, None);
    reader.push(br#"{"outputs":[]}"#);
    assert!(!reader.is_over() && reader.end().is_ok());
}

#[test]
fn requests_are_drawn_in_turn_and_their_answers_compared() {
    // Answers with the number that the body ends with; 2 is answered wrongly.
    let address = serve(|_, _, body| {
        let number = match body.last() {
            Some(2) => 7,
            other => *other.unwrap(),
        };
        let text =
            format!(r#"{{"outputs":[{{"name":"y","datatype":"UINT8","shape":[1],"data":[{number}]}}]}}"#);
        Answer::response(200, "", text.as_bytes())
    });
    let drawn = |number: u8| {
        let input = Input {
            name: "x".to_owned(),
            datatype: "UINT8".to_owned(),
            shape: vec![1],
            data: InputData::Binary(vec![number].into()),
        };
        PreparedRequest::new("m", None, &[input], &[]).unwrap()
    };
    let expected = |number: u8| Expected {
        outputs: vec![Wanted {
            name: "y".into(),
            datatype: "UINT8".into(),
            shape: vec![1],
            bytes: vec![number],
        }],
        tolerance: 0.0,
    };
    let mut workload = open(address, constant(200.0).take(30), 4);
    workload.requests = (0..3).map(drawn).collect();
    workload.draws = 3;
    workload.expected = (0..3).map(expected).collect();
    let (_, totals) = run(workload, ms(60_000));
    assert_eq!((totals.all.latency.count(), totals.all.compared.answers), (30, 30));
    assert_eq!(totals.all.compared.wrong, 10, "each third");
    let first = totals.all.compared.first_difference.unwrap();
    assert_eq!(first, "output 'y' at [0]: expected 2, got 7");
}

#[test]
fn draws_and_workers_have_to_fit() {
    let requests = |count: usize| (0..count).map(|_| request("m")).collect::<Vec<_>>();
    for (count, draws, workers, fits) in [
        (1, 1, 9, true),
        (3, 3, 9, true),
        (6, 3, 2, true),
        (6, 3, 3, false),
        (5, 3, 1, false),
        (0, 0, 1, false),
    ] {
        let deck = deck::Deck::new(requests(count), draws, Vec::new().into(), workers);
        assert_eq!(deck.is_ok(), fits, "{count} requests of {draws} draws for {workers}");
    }
}
