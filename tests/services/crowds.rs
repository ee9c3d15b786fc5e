//! Clients that are silent, slow, do not read or are too many: others are served meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::http::{self, Connection};
use support::{Env, Process, TIMEOUT};

fn open(api: &Process) -> TcpStream {
    let stream = TcpStream::connect(api.url().replace("http://", "")).expect("the port is open");
    stream
        .set_read_timeout(Some(TIMEOUT))
        .expect("a socket takes a timeout");
    stream
        .set_write_timeout(Some(TIMEOUT))
        .expect("a socket takes a timeout");
    stream
}

/// Waits until the other side has ended the connection; what it still said.
fn wait_until_closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it was not closed: {error}"),
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn silent_connections_beyond_the_limit_do_not_lock_clients_out() {
    let env = Env::ready();
    let api = env.serve_api().env("MAX_CONNECTIONS", "20").start();
    let mut silent: Vec<TcpStream> = (0..30).map(|_| open(&api)).collect();
    for mut half in (0..30).map(|_| open(&api)) {
        half.write_all(b"POST /orders HTTP/1.1\r\nHost: loc")
            .expect("the kernel takes it");
        silent.push(half);
    }
    for number in 0..10 {
        let asked = Instant::now();
        let body = support::orders::order(&format!("uid-{number}")).to_string();
        assert_eq!(api.post(body).status, 202);
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "it took {:?}",
            asked.elapsed()
        );
        silent.push(open(&api));
    }
    let sockets = silent.len() as u64;
    for stream in silent {
        wait_until_closed(stream);
    }
    super::wait_for_metric(&api, "orders_http_connections_cut_total", sockets);
    // The connections are free again.
    let mut clients: Vec<Connection> = (0..18)
        .map(|_| Connection::open(&api.url()).expect("the API takes connections"))
        .collect();
    for client in &mut clients {
        assert_eq!(client.get("/healthz").expect("it answers").status, 200);
    }
}

#[test]
fn the_operators_port_answers_while_the_public_port_is_at_its_limit() {
    let env = Env::ready();
    let api = env.serve_api().env("MAX_CONNECTIONS", "5").start();
    let silent: Vec<TcpStream> = (0..100).map(|_| open(&api)).collect();
    super::wait_for_metric(&api, "orders_http_connections", 5);
    assert_eq!(api.readiness().0, 200);
    drop(silent);
}

#[test]
fn a_silent_connection_and_an_incomplete_head_are_closed_after_five_seconds() {
    let env = Env::ready();
    let api = env.api();
    let opened = Instant::now();
    let (silent, mut half) = (open(&api), open(&api));
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: lo")
        .expect("the kernel takes it");
    for stream in [silent, half] {
        wait_until_closed(stream);
        let took = opened.elapsed();
        assert!((4..9).contains(&took.as_secs()), "it took {took:?}");
    }
}

#[test]
fn a_body_that_does_not_arrive_is_answered_408() {
    let env = Env::ready();
    let api = env.api();
    let mut slow = open(&api);
    let head = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n{\"order_uid\":";
    slow.write_all(head.as_bytes())
        .expect("the kernel takes it");
    let said = wait_until_closed(slow);
    assert!(
        said.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{said}"
    );
    assert!(said.contains("\"type\":\"slow-body\""), "{said}");
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive_s() {
    let env = Env::ready();
    let api = env.serve_api().env("KEEP_ALIVE_S", "2").start();
    let mut kept = Connection::open(&api.url()).expect("the API takes connections");
    for _ in 0..3 {
        assert_eq!(kept.get("/healthz").expect("it answers").status, 200);
    }
    let asked = Instant::now();
    let closed = kept.receive().expect_err("nothing was asked");
    assert_eq!(closed.kind(), ErrorKind::UnexpectedEof, "{closed}");
    let took = asked.elapsed();
    assert!((1..5).contains(&took.as_secs()), "it took {took:?}");
}

#[test]
fn a_client_that_never_reads_is_reset() {
    let env = Env::ready();
    let api = env.api();
    let mut deaf = open(&api);
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let (asked, mut ended) = (Instant::now(), None);
    while ended.is_none() {
        assert!(asked.elapsed() < TIMEOUT, "it is still served");
        ended = deaf.write_all(requests.as_bytes()).err();
    }
    let kind = ended.expect("the loop ends with an error").kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind:?}"
    );
    super::wait_for_metric(
        &api,
        "orders_http_requests_total{route=\"/\",status=\"200\"}",
        1,
    );
    assert_eq!(http::get(&format!("{}/healthz", api.url())).status, 200);
}

#[test]
fn clients_are_served_beside_silent_slow_and_non_reading_ones() {
    let env = Env::ready();
    let api = env.api();
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let slow = "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\n\r\n{";
    let mut bad = Vec::new();
    for words in [
        requests.as_str(),
        slow,
        "GET /healthz HTTP/1.1\r\nHost: lo",
        "",
    ] {
        for _ in 0..100 {
            let mut stream = open(&api);
            stream.set_nonblocking(true).expect("a socket can be told");
            // The deaf ones are sent more than their connection holds; the rest is dropped.
            let _ = stream.write(words.as_bytes());
            bad.push(stream);
        }
    }
    for number in 0..50 {
        let asked = Instant::now();
        let body = support::orders::order(&format!("uid-{number}")).to_string();
        let posted = api.post(body);
        let read = api.get_order(&format!("uid-{number}"));
        assert_eq!((posted.status, read.status), (202, 200));
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "it took {took:?}");
    }
    api.assert_bounded_but_for(bad.len());
    drop(bad);
    super::wait_until_connections_are_gone(&api);
}

#[test]
fn five_thousand_idle_connections_use_little_memory_and_lock_nobody_out() {
    const IDLE: usize = 5_000;
    raise_own_descriptor_limit(2 * IDLE as u64);
    let env = Env::ready();
    let api = env
        .serve_api()
        .env("MAX_CONNECTIONS", "6000")
        .env("KEEP_ALIVE_S", "600")
        .start();
    // Each asks at once: one that says nothing for five seconds is cut, which is another test's matter.
    let mut idle: Vec<Connection> = (0..IDLE)
        .map(|_| {
            let mut connection = Connection::open(&api.url()).expect("the API takes connections");
            assert_eq!(connection.get("/healthz").expect("it answers").status, 200);
            connection
        })
        .collect();
    for number in 0..50 {
        let asked = Instant::now();
        let body = support::orders::order(&format!("uid-{number}")).to_string();
        let posted = api.post(body);
        assert_eq!(posted.status, 202);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "it took {took:?}");
    }
    assert!(super::metric(&api, "orders_http_connections") >= IDLE as u64);
    api.assert_bounded_but_for(IDLE);
    api.assert_idle(0.5);
    // Each of them is still served.
    for connection in idle.iter_mut().step_by(100) {
        assert_eq!(connection.get("/healthz").expect("it answers").status, 200);
    }
    drop(idle);
    super::wait_until_connections_are_gone(&api);
    api.assert_bounded();
}

/// The test holds as many sockets as the API does.
fn raise_own_descriptor_limit(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: current.map(|it| it.max(wanted)),
        maximum: maximum.map(|it| it.max(wanted)),
    };
    setrlimit(Resource::Nofile, raised).unwrap_or_else(|error| {
        panic!("{wanted} descriptors are needed, the limit is {maximum:?} and stays: {error}")
    });
}
