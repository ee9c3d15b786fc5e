//! A client for the control socket of a service: HTTP over a Unix socket.
//!
//! Asks with HTTP/1.0, so that the answer has no chunks and its end is that of the connection.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::deadline::SOURCE_TIMEOUT;
use crate::admin::{ServiceSettings, ServiceStatus};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Why a service has not answered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Its process has ended, or is about to listen.
    #[error("does not listen on its control socket: {0}")]
    NotListening(io::Error),
    #[error("did not answer on its control socket: {0}")]
    Connection(io::Error),
    #[error("refused `{path}` on its control socket with status {status}")]
    Refused { path: &'static str, status: u16 },
    #[error("answered `{path}` on its control socket with something malformed: {reason}")]
    Malformed { path: &'static str, reason: String },
}

/// The control socket of one service.
pub struct ControlClient {
    socket: PathBuf,
}

impl ControlClient {
    pub fn new(socket: &Path) -> ControlClient {
        let socket = socket.to_owned();
        ControlClient { socket }
    }

    /// The role, the addresses and the checks of the service. Blocks until it answers: see
    /// [`super::services::ask`].
    pub fn status(&self) -> Result<ServiceStatus, ControlError> {
        self.get("/status")
    }

    /// The settings of the service. Blocks as [`ControlClient::status`].
    pub fn settings(&self) -> Result<ServiceSettings, ControlError> {
        self.get("/config")
    }

    fn get<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ControlError> {
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => ControlError::NotListening(error),
            _ => ControlError::Connection(error),
        })?;
        let answer = exchange(&mut stream, path).map_err(ControlError::Connection)?;
        let malformed = |reason: &str| ControlError::Malformed {
            path,
            reason: reason.to_owned(),
        };
        if answer.len() as u64 > MAX_ANSWER_BYTES {
            return Err(malformed("it is larger than 1 MiB"));
        }
        let (status, body) = split(&answer).ok_or_else(|| malformed("it is not HTTP"))?;
        if status != 200 {
            return Err(ControlError::Refused { path, status });
        }
        serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))
    }
}

/// Sends the request and reads up to the end, at most one byte more than [`MAX_ANSWER_BYTES`].
fn exchange(stream: &mut UnixStream, path: &str) -> io::Result<Vec<u8>> {
    // The caller has given up by then: this only ends the thread.
    let timeout = Some(SOURCE_TIMEOUT * 2);
    stream.set_write_timeout(timeout)?;
    stream.set_read_timeout(timeout)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status and the body of an answer.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|bytes| bytes == END)?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, &answer[end + END.len()..]))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// The error about a service that answers with these bytes.
    fn error_of(answer: Vec<u8>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-1.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = io::BufReader::new(&stream).lines();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            // The client need not read everything.
            let _ = stream.write_all(&answer);
        });
        let error = ControlClient::new(&path).status().unwrap_err().to_string();
        service.join().unwrap();
        error
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_an_error_that_says_why() {
        let ok = "HTTP/1.1 200 OK\r\n\r\n";
        let mut large = ok.as_bytes().to_vec();
        large.resize(2 << 20, b' ');
        let cases: [(Vec<u8>, &str); 6] = [
            ("".into(), "with something malformed: it is not HTTP"),
            ("SSH-2.0\r\n\r\n".into(), "malformed: it is not HTTP"),
            ("HTTP/1.1 200".into(), "malformed: it is not HTTP"),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n{}".into(),
                "refused `/status` on its control socket with status 404",
            ),
            (
                format!("{ok}{{}}").into(),
                "malformed: missing field `role`",
            ),
            (large, "malformed: it is larger than 1 MiB"),
        ];
        for (answer, expected) in cases {
            let error = error_of(answer);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_told_from_one_that_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api-1.sock");
        let status = || ControlClient::new(&path).status().unwrap_err();
        assert!(matches!(status(), ControlError::NotListening(_)));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(status(), ControlError::NotListening(_)));
    }
}
