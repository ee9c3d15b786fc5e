//! A small blocking HTTP/1.1 client over a plain socket, so that a test can send any bytes.
//!
//! The functions open one connection per request, [`Connection`] keeps it. No redirects, no TLS.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::TIMEOUT;

/// A response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, in upper or lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Panics with the body unless the status is this one.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Whether the order is known to be in its newest version.
    pub fn is_verified(&self) -> bool {
        let status = self.header("cache-status").unwrap_or_default();
        self.header("order-behind").is_none() && !status.contains("unverified")
    }

    /// Whether the order came from the cache.
    pub fn is_cache_hit(&self) -> bool {
        let status = self.header("cache-status").unwrap_or_default();
        status.contains("hit")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "the body of a {} is not JSON: {error}\n{}",
                self.status,
                self.text()
            )
        })
    }
}

pub fn get(url: &str) -> Response {
    try_get(url).unwrap_or_else(|error| panic!("cannot GET {url}: {error}"))
}

/// Posts a JSON body.
pub fn post(url: &str, body: impl AsRef<[u8]>) -> Response {
    try_post(url, body).unwrap_or_else(|error| panic!("cannot POST {url}: {error}"))
}

pub fn try_get(url: &str) -> io::Result<Response> {
    let (authority, path) = split(url);
    Connection::open(authority)?.get(path)
}

pub fn try_post(url: &str, body: impl AsRef<[u8]>) -> io::Result<Response> {
    let (authority, path) = split(url);
    Connection::open(authority)?.post(path, body.as_ref())
}

/// Sends a request with any method and headers.
pub fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let (authority, path) = split(url);
    let mut connection = Connection::open(authority)?;
    connection.send(&head(method, authority, path, headers, body))?;
    connection.receive()
}

/// Sends these bytes and reads one response.
pub fn raw(url: &str, bytes: &[u8]) -> io::Result<Response> {
    let mut connection = Connection::open(split(url).0)?;
    // The server may respond and close before it has read everything.
    let _ = connection.send(bytes);
    connection.receive()
}

/// Reads one response from a connection on which a request was sent.
pub fn receive(stream: TcpStream) -> io::Result<Response> {
    Connection::over(stream, "localhost")?.receive()
}

/// A connection that is kept open between requests.
pub struct Connection {
    authority: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// `authority` is `host:port`, or a whole URL.
    pub fn open(authority: &str) -> io::Result<Connection> {
        let authority = split(authority).0;
        Connection::over(TcpStream::connect(authority)?, authority)
    }

    fn over(stream: TcpStream, authority: &str) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection {
            authority: authority.to_owned(),
            stream: BufReader::new(stream),
        })
    }

    /// Responses that take longer than this are an error.
    pub fn with_timeout(self, wait: Duration) -> Connection {
        let set = self.stream.get_ref().set_read_timeout(Some(wait));
        set.expect("a socket takes its options");
        self
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        let bytes = head("GET", &self.authority, path, &[], b"");
        self.send(&bytes)?;
        self.receive()
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        let json = [("Content-Type", "application/json")];
        let bytes = head("POST", &self.authority, path, &json, body);
        self.send(&bytes)?;
        self.receive()
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Shuts down the sending side; responses can still be received.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write)
    }

    pub fn receive(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| malformed(format!("status line `{line}`")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed(format!("header `{line}`")))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        response.body = self.body(&response)?;
        Ok(response)
    }

    fn body(&mut self, response: &Response) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("transfer-encoding").is_some() {
            loop {
                let size = self.line()?;
                let size = usize::from_str_radix(&size, 16)
                    .map_err(|_| malformed(format!("chunk size `{size}`")))?;
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..])?;
                self.line()?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        match response.header("content-length") {
            Some(length) => {
                let length = length
                    .parse()
                    .map_err(|_| malformed(format!("length `{length}`")))?;
                body.resize(length, 0);
                self.stream.read_exact(&mut body)?;
            }
            None if response.status == 204 => {}
            None => {
                self.stream.read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn head(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// `host:port` and the path with its query.
fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    }
}

fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what}"))
}
