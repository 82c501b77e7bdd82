//! A stub server, for behaviour that a real one does not show on demand.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// The response of the stub to a request.
pub struct Answer {
    /// Sent as they are.
    pub bytes: Vec<u8>,
    /// Whether the connection is closed then.
    pub close: bool,
}

impl Answer {
    /// A complete response; each header includes its line end.
    pub fn response(status: u16, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        Self { bytes: [head.as_bytes(), body].concat(), close: false }
    }
}

/// Listens on a port of 127.0.0.1 until the process ends, with a thread for each connection. `answer` gets the
/// connection's number, the request's number on it, and the request's body.
pub fn serve(answer: impl Fn(usize, usize, &[u8]) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, answer) = (stream.expect("a connection"), answer.clone());
            thread::spawn(move || connection(stream, |request, body| answer(number, request, body)));
        }
    });
    address
}

fn connection(mut stream: TcpStream, answer: impl Fn(usize, &[u8]) -> Answer) {
    stream.set_nodelay(true).expect("a TCP connection");
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    for number in 0.. {
        let (body, end) = loop {
            if let Some((body, end)) = body_of(&bytes)
                && bytes.len() >= end
            {
                break (body, end);
            }
            match stream.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        };
        let answer = answer(number, &bytes[body..end]);
        bytes.drain(..end);
        if stream.write_all(&answer.bytes).is_err() || answer.close {
            return;
        }
    }
}

/// Where a request's body begins and ends, once its headers are there.
fn body_of(bytes: &[u8]) -> Option<(usize, usize)> {
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let start =
        bytes[..body].windows(LENGTH.len()).position(|window| window == LENGTH).expect("the tool sends it");
    let digits = bytes[start + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    Some((body, body + length))
}
