//! A connection to the server, which is restored when it is lost.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Request, Response, body};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::request::PreparedRequest;
use super::response::{Answer, Reader};
use crate::answers::Output;
use crate::clock::now_ns;
use crate::record::Failure;

const HEADER_LENGTH: &str = "inference-header-content-length";

/// The pause after a lost connection, so that a dead server does not keep a core busy. It doubles up to the maximum.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Sends one request after the other over a connection.
pub(super) struct Connection {
    address: SocketAddr,
    timeout: Duration,
    request: Request<Full<Bytes>>,
    http: Option<Http>,
    reader: Reader,
    /// Number of connections lost in a row.
    lost: u32,
}

/// The outcome of one request.
pub(super) struct Exchange {
    /// When its first byte was written; if it was not, the time of the failure.
    pub sent_ns: u64,
    pub done_ns: u64,
    pub result: Result<Answer, Failure>,
}

/// Why there is no valid response.
enum Trouble {
    /// The server responded, and the connection is usable.
    Answer(Failure),
    /// The connection is not usable any more.
    Lost(Failure),
}

impl Connection {
    /// Not yet connected.
    ///
    /// # Errors
    ///
    /// Host or path is not valid in a request.
    pub fn new(
        address: SocketAddr,
        host: &str,
        prepared: &PreparedRequest,
        timeout: Duration,
    ) -> Result<Self> {
        let request = Request::post(&prepared.path)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(HEADER_LENGTH, prepared.header_length)
            .body(Full::new(prepared.body.clone()))?;
        Ok(Self { address, timeout, request, http: None, reader: Reader::default(), lost: 0 })
    }

    /// Sends this from now on, to the same model.
    pub fn put(&mut self, prepared: &PreparedRequest) {
        *self.request.body_mut() = Full::new(prepared.body.clone());
        self.request.headers_mut().insert(HEADER_LENGTH, prepared.header_length.into());
    }

    /// Keeps the outputs of responses from now on.
    pub fn keep_outputs(&mut self) {
        self.reader.keep();
    }

    /// The outputs of the last response, after [`Connection::keep_outputs`].
    pub fn outputs(&self) -> Result<Vec<Output>, String> {
        self.reader.outputs()
    }

    /// Connects, unless it is connected, so that the first request does not include it. A failure is reported by that
    /// request.
    pub async fn open(&mut self) -> bool {
        matches!(timeout(self.timeout, self.opened()).await, Ok(Ok(_)))
    }

    /// Sends the request and reads the response.
    pub async fn exchange(&mut self) -> Exchange {
        let mut sent_ns = None;
        let result = match timeout(self.timeout, self.attempts(&mut sent_ns)).await {
            Ok(result) => result,
            Err(_) => {
                let message = format!("no response within {} s", self.timeout.as_secs_f64());
                Err(Trouble::Lost(Failure { kind: "timeout".to_owned(), message }))
            }
        };
        let done_ns = now_ns();
        let result = match result {
            Err(Trouble::Lost(failure)) => {
                self.http = None;
                self.lost += 1;
                Err(failure)
            }
            Err(Trouble::Answer(failure)) => {
                self.lost = 0;
                Err(failure)
            }
            Ok(answer) => {
                self.lost = 0;
                Ok(answer)
            }
        };
        Exchange { sent_ns: sent_ns.unwrap_or(done_ns), done_ns, result }
    }

    /// How long to pause after the last exchange.
    pub fn pause(&self) -> Option<Duration> {
        let doublings = self.lost.checked_sub(1)?.min(16);
        Some((SHORTEST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE))
    }

    async fn attempts(&mut self, sent_ns: &mut Option<u64>) -> Result<Answer, Trouble> {
        loop {
            let used = self.opened().await.map_err(Trouble::Lost)?;
            let http = self.http.as_mut().expect("it is open");
            let request = self.request.clone();
            sent_ns.get_or_insert_with(now_ns);
            let result = http.exchange(request, &mut self.reader).await;
            // The server may close an idle connection just when it is used again. Try once more with a new one.
            if matches!(result, Err(Trouble::Lost(_))) && used && !http.answering.load(Ordering::Relaxed) {
                self.http = None;
                continue;
            }
            return result;
        }
    }

    /// Makes sure that there is a connection. Returns whether it has been used before.
    async fn opened(&mut self) -> Result<bool, Failure> {
        if let Some(http) = &mut self.http
            && http.is_open().await
        {
            return Ok(http.used);
        }
        self.http = None;
        self.http = Some(Http::connect(self.address).await?);
        Ok(false)
    }
}

/// A connection, driven by the code that waits for it: a separate task would have to be woken each time.
struct Http {
    sender: http1::SendRequest<Full<Bytes>>,
    /// None once it is closed.
    driver: Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    /// Whether any byte has arrived since the last request.
    answering: Arc<AtomicBool>,
    used: bool,
}

impl Http {
    async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused",
                io::ErrorKind::TimedOut => "timeout",
                _ => "cannot connect",
            };
            Failure { kind: kind.to_owned(), message: format!("{address}: {error}") }
        };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let answering = Arc::new(AtomicBool::new(false));
        let stream = TokioIo::new(Stream { stream, answering: answering.clone() });
        let (sender, driver) = http1::handshake(stream).await.map_err(|error| failure(&error))?;
        Ok(Self { sender, driver: Some(driver), answering, used: false })
    }

    /// Whether it accepts another request. Notices if the server has closed it.
    async fn is_open(&mut self) -> bool {
        drive(&mut self.driver, poll_fn(|cx| self.sender.poll_ready(cx))).await.is_ok()
    }

    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        reader: &mut Reader,
    ) -> Result<Answer, Trouble> {
        self.answering.store(false, Ordering::Relaxed);
        let response = self.sender.send_request(request);
        let response = drive(&mut self.driver, response).await.map_err(lost)?;
        self.used = true;
        let text_length = text_length(response.headers()).map_err(Trouble::Lost)?;
        reader.begin(response.status().as_u16(), text_length);
        drive(&mut self.driver, read(response, reader)).await.map_err(lost)?;
        match reader.is_over() {
            // What is left of it would be taken for the next response.
            true => reader.end().map_err(Trouble::Lost),
            false => reader.end().map_err(Trouble::Answer),
        }
    }
}

async fn read(response: Response<body::Incoming>, reader: &mut Reader) -> hyper::Result<()> {
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Some(piece) = frame?.data_ref() {
            reader.push(piece);
        }
        if reader.is_over() {
            break;
        }
    }
    Ok(())
}

/// The length of the JSON, if the body has more than JSON.
fn text_length(headers: &HeaderMap) -> Result<Option<usize>, Failure> {
    let Some(length) = headers.get(HEADER_LENGTH) else { return Ok(None) };
    let number = length.to_str().ok().and_then(|length| length.parse().ok());
    number.map(Some).ok_or_else(|| {
        let message = format!("{HEADER_LENGTH}: expected a number, found {length:?}");
        Failure { kind: "bad response".to_owned(), message }
    })
}

/// Waits for something that needs the connection to make progress.
async fn drive<F: Future>(
    driver: &mut Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>,
    future: F,
) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // Its error is also that of the request.
        if driver.as_mut().is_some_and(|driver| Pin::new(driver).poll(cx).is_ready()) {
            *driver = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

fn lost(error: hyper::Error) -> Trouble {
    Trouble::Lost(failure(&error))
}

fn failure(error: &hyper::Error) -> Failure {
    let kind = if error.is_parse() { "bad response" } else { "connection closed" };
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    Failure { kind: kind.to_owned(), message }
}

/// A socket that records whether anything has arrived.
struct Stream {
    stream: TcpStream,
    answering: Arc<AtomicBool>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.answering.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
