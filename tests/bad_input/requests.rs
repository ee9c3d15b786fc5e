//! Malformed requests as data: a description, the bytes, and the expected answer.

use support::orders::order;

/// All of them; those with 202 bring one order each.
pub fn requests() -> Vec<Request> {
    let groups = [
        lengths(),
        chunks(),
        refused_headers(),
        types(),
        heads(),
        paths(),
    ];
    groups.into_iter().flatten().collect()
}

/// The largest body.
const LIMIT: usize = 512 << 10;

/// One request as bytes, and the expected answer.
pub struct Request {
    pub name: String,
    pub bytes: Vec<u8>,
    /// The client shuts down its sending side after these bytes.
    pub ends: bool,
    pub status: u16,
    /// The `type` of the problem; "" where the connection answers instead of the API.
    pub kind: &'static str,
    /// The connection ends with the answer.
    pub closes: bool,
}

impl Request {
    fn new(
        name: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        status: u16,
        kind: &'static str,
    ) -> Request {
        Request {
            name: name.into(),
            bytes: bytes.into(),
            ends: false,
            status,
            kind,
            closes: false,
        }
    }

    fn ending(self) -> Request {
        Request { ends: true, ..self }
    }

    fn closing(self) -> Request {
        Request {
            closes: true,
            ..self
        }
    }
}

/// A POST of JSON with further header lines and exactly this body.
pub fn post(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n"
    );
    [head.as_bytes(), body.as_ref()].concat()
}

pub fn sized(body: impl AsRef<[u8]>) -> Vec<u8> {
    post(
        &format!("Content-Length: {}\r\n", body.as_ref().len()),
        body,
    )
}

fn padded(uid: &str, bytes: usize) -> Vec<u8> {
    let body = order(uid).to_string();
    [body.as_bytes(), &vec![b' '; bytes - body.len()]].concat()
}

fn lengths() -> Vec<Request> {
    let body = order("lengths").to_string();
    let half = &body[..body.len() / 2];
    let longer = format!("Content-Length: {}\r\n", body.len());
    let much_longer = format!("Content-Length: {}\r\n", 10 * LIMIT);
    let endless = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", 10 * LIMIT);
    vec![
        Request::new(
            "a body of the largest size",
            sized(padded("largest", LIMIT)),
            202,
            "",
        ),
        Request::new(
            "one byte more",
            sized(padded("larger", LIMIT + 1)),
            413,
            "too-large",
        )
        .closing(),
        Request::new(
            "a length that promises more",
            post(&longer, half),
            400,
            "broken-body",
        )
        .ending(),
        Request::new(
            "a length that promises less",
            post("Content-Length: 20\r\n", &body),
            400,
            "not-json",
        ),
        Request::new(
            "a length beyond the limit, and no body",
            post(&much_longer, "{"),
            413,
            "too-large",
        )
        .ending(),
        Request::new(
            "asking to send too much",
            post(&endless, ""),
            413,
            "too-large",
        )
        .closing(),
        Request::new("neither a length nor chunks", post("", ""), 400, "not-json"),
    ]
}

/// Bodies in chunks: a proxy may have used a length instead.
fn chunks() -> Vec<Request> {
    let chunked = |uid: &str| {
        let body = order(uid).to_string();
        format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
    };
    let hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    vec![
        Request::new(
            "chunks",
            post("Transfer-Encoding: chunked\r\n", chunked("chunks")),
            202,
            "",
        ),
        Request::new(
            "chunks and a length that would cut them",
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                chunked("both"),
            ),
            202,
            "",
        ),
        Request::new(
            "a request hidden in the body of another",
            post(
                &format!(
                    "Transfer-Encoding: chunked\r\nContent-Length: {}\r\n",
                    hidden.len()
                ),
                hidden,
            ),
            400,
            "not-json",
        ),
        Request::new(
            "chunks that are no chunks",
            post("Transfer-Encoding: chunked\r\n", "zz\r\n{}"),
            400,
            "broken-body",
        )
        .closing(),
        Request::new(
            "chunks that break off",
            post("Transfer-Encoding: chunked\r\n", "400\r\n{"),
            400,
            "broken-body",
        )
        .ending(),
    ]
}

/// Headers for which the connection itself answers 400 and ends.
fn refused_headers() -> Vec<Request> {
    let body = order("refused-headers").to_string();
    let length = body.len();
    let two_lengths = format!("Content-Length: {length}\r\nContent-Length: 5");
    let one_line = format!("Content-Length: {length}, 5");
    let blank = format!("Content-Length : {length}");
    let headers = [
        (
            "a length of 20 digits",
            "Content-Length: 99999999999999999999",
        ),
        ("a negative length", "Content-Length: -1"),
        ("a length with a plus", "Content-Length: +5"),
        ("a length in words", "Content-Length: five"),
        ("two lengths that differ", &two_lengths),
        ("two lengths in one line", &one_line),
        (
            "an unknown transfer encoding",
            "Transfer-Encoding: identity",
        ),
        (
            "chunked is not the last encoding",
            "Transfer-Encoding: chunked, gzip",
        ),
        ("a blank before a colon", &blank),
    ];
    let request = |(name, line)| {
        let bytes = post(&format!("{line}\r\n"), &body);
        Request::new(name, bytes, 400, "").closing()
    };
    headers.map(request).into()
}

/// Types that a form of another site could send, and compressed bodies.
fn types() -> Vec<Request> {
    let body = order("types").to_string();
    let with = |headers: &str| {
        let head = format!(
            "POST /orders HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body.as_bytes()].concat()
    };
    let types = [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain; application/json\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: \u{ff}\r\n",
    ];
    let encodings = ["gzip", "br", "deflate", "identity, gzip", "x"];
    let typed = types.iter().map(|line| {
        Request::new(
            format!("the type in `{}`", line.trim()),
            with(line),
            415,
            "not-json-type",
        )
    });
    let encoded = encodings.iter().map(|encoding| {
        let headers = format!("Content-Type: application/json\r\nContent-Encoding: {encoding}\r\n");
        Request::new(
            format!("the encoding `{encoding}`"),
            with(&headers),
            415,
            "encoded-body",
        )
    });
    typed.chain(encoded).collect()
}

fn heads() -> Vec<Request> {
    let get = |line: &str, headers: &str| format!("{line}\r\nHost: localhost\r\n{headers}\r\n");
    let many = |count: usize| "X-A: b\r\n".repeat(count);
    let long = |bytes: usize| format!("X-Long: {}\r\n", "a".repeat(bytes));
    let health = "GET /healthz HTTP/1.1";
    let path = format!("GET /{} HTTP/1.1", "a".repeat(1 << 20));
    vec![
        Request::new("99 headers and the host", get(health, &many(99)), 200, ""),
        Request::new("100 headers and the host", get(health, &many(100)), 431, "").closing(),
        Request::new("a header of 40 kB", get(health, &long(40 << 10)), 431, "").closing(),
        Request::new("a header of 1 MB", get(health, &long(1 << 20)), 431, "").closing(),
        Request::new("a path of 1 MB", get(&path, ""), 431, "").closing(),
        Request::new("a NUL in a header", get(health, "X-A: a\0b\r\n"), 400, "").closing(),
        Request::new("a header without a name", get(health, ": b\r\n"), 400, "").closing(),
        Request::new("not HTTP", "hello\r\n\r\n", 400, "").closing(),
        Request::new(
            "another protocol",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n",
            400,
            "",
        )
        .closing(),
        Request::new(
            "an invalid version",
            get("GET /healthz HTTP/7.3", ""),
            400,
            "",
        )
        .closing(),
    ]
}

fn paths() -> Vec<Request> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let nowhere = [
        "/nope",
        "/orders/",
        "/orders/a",
        "//orders",
        "/ORDERS",
        "/api",
        "/api/order",
        "/api/order/",
        "/api/order/a/b",
        "/api/order//",
        "/api/order/../../etc/passwd",
        "/%2e%2e/",
    ];
    let long = "a".repeat(513);
    let no_uids = [
        "%ff",
        "%c3%28",
        "a%0Ab",
        "a%0d",
        "%00",
        "%1b[31m",
        "%7F",
        "%zz",
        "%",
        "%4",
        long.as_str(),
    ];
    let unknown = nowhere
        .iter()
        .map(|path| Request::new(format!("the path {path}"), get(path), 404, "no-such-path"));
    let no_uids = no_uids.iter().map(|uid| {
        let name = format!("the uid {uid:.20} in a path");
        Request::new(
            name,
            get(&format!("/api/order/{uid}")),
            400,
            "bad-order-uid",
        )
    });
    unknown.chain(no_uids).collect()
}
