//! The responses of the operators' port, and its limits on clients.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use http_body_util::BodyExt;

use super::*;
use crate::access::NewToken;

const LOCAL: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

struct Fixed(bool);

impl Health for Fixed {
    fn live(&self) -> Result<(), String> {
        if self.0 { Ok(()) } else { Err("stuck".into()) }
    }

    fn ready(&self) -> Vec<Check> {
        let check = |name: &str, ok| Check {
            name: name.into(),
            ok,
            detail: "as it is".into(),
        };
        vec![check("log", self.0), check("warm-up", true)]
    }

    fn metrics(&self) -> String {
        "orders_a 1\n".into()
    }
}

fn shown(url: &str, health: bool) -> (u16, String) {
    let access = Access::new(LOCAL.into(), None, Arc::default());
    shown_to(access, url, health, None)
}

fn shown_to(access: Access, url: &str, health: bool, token: Option<&str>) -> (u16, String) {
    let mut request = Request::get(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    let health = Arc::new(Fixed(health));
    let response = Port { access, health }.page(&head);
    let status = response.status().as_u16();
    let runtime = Builder::new_current_thread().build().unwrap();
    let body = runtime.block_on(response.into_body().collect()).unwrap();
    let text = String::from_utf8(body.to_bytes().into()).unwrap();
    (status, text)
}

#[test]
fn readiness_lists_failed_checks_and_verbosely_all() {
    assert_eq!(shown("/readyz", true), (200, "ok\n".into()));
    let failed = "FAIL log: as it is\n";
    assert_eq!(shown("/readyz", false), (503, failed.into()));
    let all = "FAIL log: as it is\nok warm-up: as it is\n";
    assert_eq!(shown("/readyz?verbose", false), (503, all.into()));
    assert_eq!(shown("/readyz?a=b&verbose=1", false), (503, all.into()));
}

#[test]
fn a_stuck_service_is_not_live() {
    assert_eq!(shown("/livez", true), (200, "ok\n".into()));
    assert_eq!(shown("/livez", false), (503, "FAIL stuck\n".into()));
    assert_eq!(shown("/nothing", true).0, 404);
}

#[test]
fn details_are_for_operators_and_probes_need_no_token() {
    let new = |scope| NewToken::generate("a", &[scope]).unwrap();
    let (operator, client) = (new(Scope::Operator), new(Scope::OrdersRead));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, format!("{}\n{}\n", operator.line, client.line)).unwrap();
    let tokens = Arc::new(TokenFile::open(&path).unwrap());
    let ask = |url: &str, health, token: Option<&str>| {
        let access = Access::new(LOCAL.into(), Some(tokens.clone()), Arc::default());
        shown_to(access, url, health, token)
    };
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(path, true, None), (200, "ok\n".into()));
        assert_eq!(ask(path, false, None), (503, "FAIL\n".into()));
        assert_eq!(
            ask(path, false, Some(&client.token)),
            (503, "FAIL\n".into())
        );
        let (status, told) = ask(path, false, Some(&operator.token));
        assert!(status == 503 && told.len() > "FAIL\n".len(), "{told}");
    }
    for path in ["/readyz?verbose", "/metrics"] {
        assert_eq!(ask(path, true, None).0, 401, "{path}");
        assert_eq!(ask(path, true, Some("other")).0, 401, "{path}");
        assert_eq!(ask(path, true, Some(&client.token)).0, 403, "{path}");
        assert_eq!(ask(path, true, Some(&operator.token)).0, 200, "{path}");
    }
}

#[test]
fn a_page_that_a_browser_shows_cannot_read_metrics() {
    let admin = start();
    let ask = |headers: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        answer(&admin, request.as_bytes())
    };
    assert!(ask("Host: localhost\r\n").starts_with("HTTP/1.1 200 "));
    assert!(ask("Host: evil.example\r\n").starts_with("HTTP/1.1 421 "));
    assert!(ask("").starts_with("HTTP/1.1 400 "));
    assert!(ask("Host: localhost\r\nHost: localhost\r\n").starts_with("HTTP/1.1 400 "));
}

fn start() -> Admin {
    let service = Service {
        role: "test",
        api: None,
        settings: Vec::new(),
        control_folder: "/nonexistent/orders".into(),
    };
    let access = Access::new(LOCAL.into(), None, Arc::default());
    Admin::start(LOCAL.into(), access, service, Arc::new(Fixed(true))).unwrap()
}

/// The response to these bytes, up to the end of the connection.
fn answer(admin: &Admin, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(admin.addr()).unwrap();
    let timeout = Duration::from_secs(10);
    stream.set_read_timeout(Some(timeout)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn assert_alive(admin: &Admin) {
    let alive = answer(admin, LIVEZ);
    let is_ok = alive.starts_with("HTTP/1.1 200 ") && alive.ends_with("\r\n\r\nok\n");
    assert!(is_ok, "{alive}");
}

#[test]
fn an_announced_body_neither_aborts_the_process_nor_holds_the_port() {
    let admin = start();
    for announcing in [
        "Content-Length: 1000000000000",
        "Content-Length: 5\r\nExpect: 100-continue",
        "Transfer-Encoding: chunked",
    ] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{announcing}\r\n\r\n");
        let answer = answer(&admin, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
    assert_alive(&admin);
}

#[test]
fn a_client_that_sends_a_body_reads_the_refusal_instead_of_a_reset() {
    let admin = start();
    let head = "POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n";
    let request = [head.as_bytes(), &[b'x'; 500_000]].concat();
    let answer = answer(&admin, &request);
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
}

#[test]
fn a_head_larger_than_8_kib_is_refused() {
    let admin = start();
    let large = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9_000));
    let answer = answer(&admin, large.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_alive(&admin);
}

#[test]
fn a_probe_does_not_wait_for_three_hundred_slow_clients() {
    let admin = start();
    let begun = ["", "GET /livez HTTP/1.1\r\nHost: lo", SLOW_BODY];
    let slow = |number: usize| {
        let mut stream = TcpStream::connect(admin.addr()).unwrap();
        // Those that came before it may have been cut, this one was not yet.
        stream.write_all(begun[number % 3].as_bytes()).unwrap();
        stream
    };
    let _slow: Vec<TcpStream> = (0..300).map(slow).collect();
    for _ in 0..5 {
        let started = Instant::now();
        assert_alive(&admin);
        let elapsed = started.elapsed();
        // The measured time is a few milliseconds; a loaded machine needs more.
        assert!(elapsed < Duration::from_millis(500), "after {elapsed:?}");
    }
}

/// A request whose body does not come.
const SLOW_BODY: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n";

#[test]
fn head_has_no_body_and_a_dropped_port_is_closed() {
    let admin = start();
    let request = b"HEAD /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let head = answer(&admin, request);
    let is_head = head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n");
    assert!(is_head, "{head}");
    let addr = admin.addr();
    drop(admin);
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}
