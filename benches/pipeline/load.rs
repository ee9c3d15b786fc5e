//! The load generator: keep-alive connections on one thread, each of which sends its next request when
//! it has its response, and the latencies of all responses.
//!
//! It waits for readiness itself instead of using an HTTP client, so that one core of load keeps more
//! than one core of server busy.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::http;
use support::orders::order;
use tokio::net::TcpStream;

/// The latencies of one run.
#[derive(Default)]
pub struct Load {
    micros: Vec<u32>,
    took: Duration,
}

impl Load {
    pub fn add(&mut self, time: Duration) {
        self.micros.push(micros(time));
        self.took += time;
    }

    /// Adds another run of the same.
    pub fn join(&mut self, other: Load) {
        self.micros.extend(other.micros);
        self.took += other.took;
    }

    pub fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.took.as_secs_f64()
    }

    fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let index = ((sorted.len() - 1) as f64 * share) as usize;
        f64::from(sorted[index]) / 1000.0
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, half, most) = (
            self.per_second(),
            self.percentile(0.5),
            self.percentile(0.99),
        );
        write!(
            f,
            "{} /s, p50 {half:.2} ms, p99 {most:.2} ms",
            thousands(rate)
        )
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// `12,345`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The requests to send.
#[derive(Clone)]
pub enum Requests {
    /// GET of one path.
    Same(String),
    /// POST of orders, each with a uid of its own.
    Orders,
}

/// Requests by `connections` for the given time; every answer must be a 200 or 202.
pub fn run(url: &str, connections: usize, requests: Requests, time: Duration) -> Load {
    let authority = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        // The first second is not counted: producers and caches warm up.
        let counted_from = Instant::now() + Duration::from_secs(1);
        let until = counted_from + time;
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                tokio::spawn(connection(
                    authority.clone(),
                    requests.clone(),
                    counted_from,
                    until,
                ))
            })
            .collect();
        let mut load = Load::default();
        for task in tasks {
            load.micros
                .extend(task.await.expect("no connection panics"));
        }
        load.took = time;
        load
    })
}

async fn connection(
    authority: String,
    requests: Requests,
    counted_from: Instant,
    until: Instant,
) -> Vec<u32> {
    let stream = TcpStream::connect(&authority)
        .await
        .expect("the server listens");
    stream
        .set_nodelay(true)
        .expect("a socket takes its options");
    let mut request = Request::new(&authority, &requests);
    let (mut times, mut buffer) = (Vec::new(), Vec::new());
    loop {
        let sent = Instant::now();
        if sent >= until {
            return times;
        }
        send(&stream, request.next())
            .await
            .expect("the server reads");
        let status = answer(&stream, &mut buffer)
            .await
            .expect("the server answers");
        assert!(matches!(status, 200 | 202), "the server answered {status}");
        if sent >= counted_from {
            times.push(micros(sent.elapsed()));
        }
    }
}

/// The bytes of a request, the uid in them replaced each time.
struct Request {
    bytes: Vec<u8>,
    /// Where the digits of the uid are.
    uids: Vec<usize>,
}

impl Request {
    const DIGITS: usize = 12;

    fn new(authority: &str, requests: &Requests) -> Request {
        let body = match requests {
            Requests::Same(path) => {
                let bytes =
                    format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes();
                return Request {
                    bytes,
                    uids: Vec::new(),
                };
            }
            Requests::Orders => order(&"#".repeat(Self::DIGITS)).to_string(),
        };
        let text = format!(
            "POST /orders HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let uids = text
            .match_indices(&"#".repeat(Self::DIGITS))
            .map(|(at, _)| at)
            .collect();
        Request {
            bytes: text.into_bytes(),
            uids,
        }
    }

    fn next(&mut self) -> &[u8] {
        static ORDERS: AtomicU64 = AtomicU64::new(0);
        if !self.uids.is_empty() {
            let digits = format!("{:012}", ORDERS.fetch_add(1, Ordering::Relaxed));
            for at in &self.uids {
                self.bytes[*at..*at + Self::DIGITS].copy_from_slice(digits.as_bytes());
            }
        }
        &self.bytes
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads one answer with a length; returns its status.
async fn answer(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<u16> {
    buffer.clear();
    loop {
        if let Some((status, length)) = head(buffer)?
            && buffer.len() >= length
        {
            return Ok(status);
        }
        stream.readable().await?;
        match stream.try_read_buf(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The status and the length of the whole response, once its head is complete. It is parsed in place,
/// so that the load uses as little of the shared processors as possible.
fn head(answer: &[u8]) -> io::Result<Option<(u16, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut headers);
    let parsed = head.parse(answer).map_err(io::Error::other)?;
    let httparse::Status::Complete(end) = parsed else {
        return Ok(None);
    };
    let status = head.code.ok_or(io::ErrorKind::InvalidData)?;
    let length = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Some((status, end + length)))
}

/// GETs these paths one after another on one connection; each must be answered with `status`.
pub fn sequence(url: &str, paths: Vec<String>, status: u16) -> Load {
    let mut connection = http::Connection::open(url).expect("the API listens");
    let mut load = Load::default();
    for path in paths {
        let sent = Instant::now();
        let answer = connection.get(&path).expect("the API answers");
        answer.expect_status(status);
        load.add(sent.elapsed());
    }
    load
}

/// The paths of `count` numbered orders.
pub fn paths(prefix: &str, count: u32) -> Vec<String> {
    (0..count)
        .map(|number| format!("/api/order/{prefix}{number:07}"))
        .collect()
}
