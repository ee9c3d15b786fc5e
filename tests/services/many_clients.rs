//! Clients that are silent, slow, do not read or are too many: the others are served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::http::{self, Connection};
use support::{Env, Process, TIMEOUT, eventually, returns_within};

const INCOMPLETE_BODY: &str = "POST /orders HTTP/1.1\r\nHost: localhost\r\n\
    Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"order_uid\":";

fn open(api: &Process) -> TcpStream {
    let stream = TcpStream::connect(api.authority()).expect("the port is open");
    let timeouts = stream.set_read_timeout(Some(TIMEOUT));
    let timeouts = timeouts.and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
    timeouts.expect("a socket takes a timeout");
    stream
}

/// Opens a connection and sends the beginning of a request.
fn open_and_send(api: &Process, start: &str) -> TcpStream {
    let mut stream = open(api);
    let sent = stream.write_all(start.as_bytes());
    sent.expect("the kernel accepts a few bytes");
    stream
}

/// Waits until the API closes the connection; returns what it sent.
fn wait_until_closed(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it was not closed: {error}"),
    }
    String::from_utf8_lossy(&received).into_owned()
}

#[test]
fn silent_connections_beyond_the_limit_do_not_exclude_clients() {
    let env = Env::ready();
    let api = env.serve_api().env("MAX_CONNECTIONS", "20").start();
    let mut silent: Vec<TcpStream> = (0..30).map(|_| open(&api)).collect();
    let half = "POST /orders HTTP/1.1\r\nHost: loc";
    silent.extend((0..30).map(|_| open_and_send(&api, half)));
    for number in 0..10 {
        returns_within(Duration::from_secs(5), || {
            api.accepts(&format!("uid-{number}"));
        });
        silent.push(open(&api));
    }
    let sockets = silent.len() as u64;
    for stream in silent {
        wait_until_closed(stream);
    }
    api.wait_for_metric("orders_http_connections_cut_total", sockets);
    // The connections are available again.
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
    api.wait_for_metric("orders_http_connections", 5);
    assert_eq!(api.readiness().0, 200);
    drop(silent);
}

#[test]
fn a_silent_connection_and_an_incomplete_head_are_closed_after_five_seconds() {
    let env = Env::ready();
    let api = env.api();
    let opened = Instant::now();
    let half = open_and_send(&api, "GET /healthz HTTP/1.1\r\nHost: lo");
    for stream in [open(&api), half] {
        wait_until_closed(stream);
        let took = opened.elapsed();
        assert!((4..9).contains(&took.as_secs()), "it took {took:?}");
    }
}

#[test]
fn a_body_that_does_not_arrive_is_answered_408() {
    let env = Env::ready();
    let api = env.api();
    let answer = wait_until_closed(open_and_send(&api, INCOMPLETE_BODY));
    let status = "HTTP/1.1 408 Request Timeout\r\n";
    assert!(answer.starts_with(status), "{answer}");
    assert!(answer.contains("\"type\":\"slow-body\""), "{answer}");
}

#[test]
fn an_idle_connection_is_closed_after_keep_alive_s() {
    let env = Env::ready();
    let api = env.serve_api().env("KEEP_ALIVE_S", "2").start();
    let mut kept = Connection::open(&api.url()).expect("the API takes connections");
    for _ in 0..3 {
        assert_eq!(kept.get("/healthz").expect("it answers").status, 200);
    }
    let idle_since = Instant::now();
    let closed = kept.receive().expect_err("nothing was requested");
    assert_eq!(closed.kind(), ErrorKind::UnexpectedEof, "{closed}");
    let took = idle_since.elapsed();
    assert!((1..5).contains(&took.as_secs()), "it took {took:?}");
}

#[test]
fn a_client_that_never_reads_is_reset() {
    let env = Env::ready();
    let api = env.api();
    let mut stream = open(&api);
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let reset = eventually("the connection to be reset", TIMEOUT, || {
        stream.write_all(requests.as_bytes()).err()
    });
    let kind = reset.kind();
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind:?}"
    );
    api.wait_for_metric(
        "orders_http_requests_total{route=\"/\",method=\"GET\",status=\"200\"}",
        1,
    );
    assert_eq!(http::get(&format!("{}/healthz", api.url())).status, 200);
}

#[test]
fn clients_are_served_beside_silent_slow_and_non_reading_ones() {
    let env = Env::ready();
    let api = env.api();
    let requests = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let mut bad = Vec::new();
    for words in [
        requests.as_str(),
        INCOMPLETE_BODY,
        "GET /healthz HTTP/1.1\r\nHost: lo",
        "",
    ] {
        for _ in 0..100 {
            let mut stream = open(&api);
            stream.set_nonblocking(true).expect("a socket can be told");
            // A connection whose client does not read takes a part of the requests.
            let _ = stream.write(words.as_bytes());
            bad.push(stream);
        }
    }
    for number in 0..50 {
        returns_within(Duration::from_secs(2), || {
            let uid = format!("uid-{number}");
            api.accepts(&uid);
            api.get_order(&uid).expect_status(200);
        });
    }
    api.assert_bounded_but_for(bad.len());
    drop(bad);
    super::wait_until_connections_are_closed(&api);
}

#[test]
fn five_thousand_idle_connections_use_little_memory_and_exclude_nobody() {
    const IDLE: usize = 5_000;
    raise_own_descriptor_limit(2 * IDLE as u64);
    let env = Env::ready();
    let api = env
        .serve_api()
        .env("MAX_CONNECTIONS", "6000")
        .env("KEEP_ALIVE_S", "600")
        .start();
    // Each sends a request at once: one that sends nothing for five seconds is closed.
    let mut idle: Vec<Connection> = (0..IDLE)
        .map(|_| {
            let mut connection = Connection::open(&api.url()).expect("the API takes connections");
            assert_eq!(connection.get("/healthz").expect("it answers").status, 200);
            connection
        })
        .collect();
    for number in 0..50 {
        returns_within(Duration::from_secs(2), || {
            api.accepts(&format!("uid-{number}"));
        });
    }
    assert!(api.metric("orders_http_connections") >= IDLE as u64);
    api.assert_bounded_but_for(IDLE);
    api.assert_idle(0.5);
    // Each of them is still served.
    for connection in idle.iter_mut().step_by(100) {
        assert_eq!(connection.get("/healthz").expect("it answers").status, 200);
    }
    drop(idle);
    super::wait_until_connections_are_closed(&api);
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
