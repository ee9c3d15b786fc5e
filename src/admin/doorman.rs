//! Who stands before the operators' port: takes the connections and lets only plain questions in.
//!
//! Owns the public socket. tiny_http reads what is left of an announced body into one allocation and
//! without a deadline when a request ends, so a `Content-Length` alone could abort the process or
//! hold its only serving thread. Here a head is read within a size and a time, whatever announces a
//! body is refused, and what goes on inside is a new head made of the method and the path alone.
//! The surprising thing: the inner server listens on the loopback, on a port nobody is told. A Unix
//! socket without a file would hide it better, but tiny_http 0.12 panics when it drops one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::State;

/// How many connections are looked after at once; others wait in the kernel's queue.
const MOST_GUESTS: usize = 16;

/// The size of a head, and how long it may take to come.
const HEAD_BYTES: usize = 8 * 1024;
const HEAD_WITHIN: Duration = Duration::from_secs(2);

/// How long the inner server may think, and how long a client may take to read its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// How long, and how much of, what a refused client goes on sending is read before the close: an
/// unread rest would make it a reset, which may overtake the refusal.
const REST_WITHIN: Duration = Duration::from_millis(500);
const REST_BYTES: u64 = 1024 * 1024;

/// How long to wait after an accept failed, or while every place is taken.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until the service ends. A failed accept (no descriptors left) is waited out.
pub fn stand(listener: &TcpListener, state: &Arc<State>) {
    let places = Arc::new(());
    while !state.is_stopped() {
        if Arc::strong_count(&places) > MOST_GUESTS {
            thread::sleep(PAUSE);
            continue;
        }
        let Ok((guest, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let (place, state) = (places.clone(), state.clone());
        let looked_after = thread::Builder::new()
            .name("operators-guest".into())
            .spawn(move || {
                // A client that left, or is too slow, does not concern anybody.
                let _ = look_after(guest, &state);
                drop(place);
            });
        if looked_after.is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// One request, one answer. Without an answer from inside the connection is merely closed.
fn look_after(mut guest: TcpStream, state: &State) -> io::Result<()> {
    let answer = match read_head(&mut guest)?.and_then(|head| admit(&head)) {
        Ok(question) => {
            let inside = state.address().ok_or(ErrorKind::NotConnected)?;
            ask(inside, &question)?
        }
        Err(refusal) => refusal.answer(),
    };
    write_within(&mut guest, &answer)?;
    guest.shutdown(Shutdown::Write)?;
    guest.set_read_timeout(Some(REST_WITHIN))?;
    io::copy(&mut guest.take(REST_BYTES), &mut io::sink()).map(drop)
}

/// What is not let in, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Malformed,
    Method,
    Body,
    TooLarge,
}

impl Refusal {
    fn answer(self) -> Vec<u8> {
        let (status, said) = match self {
            Refusal::Malformed => ("400 Bad Request", "not a request of HTTP/1.1\n"),
            Refusal::Method => (
                "405 Method Not Allowed\r\nAllow: GET, HEAD",
                "method not allowed\n",
            ),
            Refusal::Body => ("413 Content Too Large", "no body is read here\n"),
            Refusal::TooLarge => (
                "431 Request Header Fields Too Large",
                "the head is larger than 8 KiB\n",
            ),
        };
        let length = said.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n",
            super::TEXT
        );
        [head, said.into()].concat().into_bytes()
    }
}

/// The bytes before the empty line.
fn read_head(guest: &mut TcpStream) -> io::Result<Result<Vec<u8>, Refusal>> {
    let deadline = Instant::now() + HEAD_WITHIN;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        guest.set_read_timeout(Some(left(deadline)?))?;
        let read = guest.read(&mut part)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..read]);
        if head.len() > HEAD_BYTES {
            return Ok(Err(Refusal::TooLarge));
        }
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(end);
            return Ok(Ok(head));
        }
    }
}

/// The question to pass on, made anew of the method and the path: in HTTP/1.0, so that the answer
/// is of a known length and ends the connection.
fn admit(head: &[u8]) -> Result<String, Refusal> {
    let head = str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, path, "HTTP/1.0" | "HTTP/1.1"] = words[..] else {
        return Err(Refusal::Malformed);
    };
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::Malformed);
    }
    if !matches!(method, "GET" | "HEAD") {
        return Err(Refusal::Method);
    }
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
        let is_empty_body = name.eq_ignore_ascii_case("content-length") && value.trim() == "0";
        let announces = ["content-length", "transfer-encoding"]
            .iter()
            .any(|it| name.trim().eq_ignore_ascii_case(it));
        if announces && !is_empty_body {
            return Err(Refusal::Body);
        }
    }
    Ok(format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    ))
}

/// The whole answer of the server inside, which is never kept waiting by a slow client.
fn ask(inside: SocketAddr, question: &str) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect_timeout(&inside, ANSWER_WITHIN)?;
    server.set_write_timeout(Some(ANSWER_WITHIN))?;
    server.set_read_timeout(Some(ANSWER_WITHIN))?;
    server.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

fn write_within(guest: &mut TcpStream, mut answer: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + WRITE_WITHIN;
    while !answer.is_empty() {
        guest.set_write_timeout(Some(left(deadline)?))?;
        let written = guest.write(answer)?;
        answer = &answer[written..];
    }
    Ok(())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(head: &str) -> Option<Refusal> {
        admit(head.as_bytes()).err()
    }

    #[test]
    fn what_goes_inside_is_a_method_and_a_path_and_nothing_else() {
        let head = b"GET /readyz?verbose HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: x";
        let question = "GET /readyz?verbose HTTP/1.0\r\nHost: localhost\r\n\r\n";
        assert_eq!(admit(head), Ok(question.into()));
    }

    #[test]
    fn whatever_may_bring_a_body_is_refused() {
        for header in [
            "Content-Length: 1000000000000",
            "content-length: 00",
            "Content-Length : 5",
            "Content-Length: 0\r\nContent-Length: 9",
            "Transfer-Encoding: chunked",
        ] {
            let head = format!("GET /livez HTTP/1.1\r\n{header}");
            assert_eq!(refused(&head), Some(Refusal::Body), "{header}");
        }
        assert_eq!(refused("POST /livez HTTP/1.1"), Some(Refusal::Method));
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for head in [
            "",
            "GET",
            "GET  /livez HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET http://a/livez HTTP/1.1",
            "GET /livez HTTP/2.0",
            "GET /livez\nX: y HTTP/1.1",
            "GET /livez HTTP/1.1\r\nno header",
        ] {
            assert_eq!(refused(head), Some(Refusal::Malformed), "{head:?}");
        }
    }
}
