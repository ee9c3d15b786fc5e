//! Requests that are wrong regardless of the document: sizes, lengths, types, heads, methods, paths.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use support::http::{self, Connection};
use support::on_both_engines;
use support::orders::order;
use support::{Engines, Env, Process, TIMEOUT, wait_until};

use super::Findings;
use super::requests::{Request, post, requests, sized};

on_both_engines! {
    [
        every_malformed_request_is_answered_and_nothing_of_it_reaches_the_log,
    ]
}

fn every_malformed_request_is_answered_and_nothing_of_it_reaches_the_log(engines: &Engines) {
    let env = engines.ready();
    let (api, mut findings) = (env.api(), Findings::default());
    let mut accepted = 0;
    for request in requests() {
        send(&api, &request, &mut findings);
        accepted += i64::from(request.status == 202);
    }
    methods(&api, &mut findings);
    endless(&api, &mut findings);
    hidden(&api, &mut findings);
    let ends: i64 = env.log().ends(&env.topic()).iter().sum();
    let mut checks = findings.of("the log");
    checks.equal("the number of records", ends, accepted);
    findings.report();

    larger_than_the_topic_allows(&env, &api);
    api.wait_ready();
}

fn send(api: &Process, request: &Request, findings: &mut Findings) {
    let mut checks = findings.of(&request.name);
    let mut connection = Connection::open(&api.url()).expect("the API accepts connections");
    // The answer may come, and the connection end, before everything is sent.
    let _ = connection.send(&request.bytes);
    if request.ends {
        let _ = connection.shutdown_write();
    }
    let answer = match connection.receive() {
        Ok(answer) => answer,
        Err(error) => return checks.holds(false, format!("no answer: {error}")),
    };
    if request.kind.is_empty() {
        checks.equal("the status", answer.status, request.status);
    } else {
        checks.problem(&answer, request.status, request.kind);
    }
    if request.closes {
        let next = connection.receive().map(|answer| answer.status);
        let is_closed = next.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            )
        });
        checks.holds(is_closed, format!("the connection stays open: {next:?}"));
    }
}

fn methods(api: &Process, findings: &mut Findings) {
    let methods = [
        "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "POST",
    ];
    for (path, allowed) in [
        ("/orders", "POST"),
        ("/api/order/a", "GET,HEAD"),
        ("/healthz", "GET,HEAD"),
        ("/", "GET,HEAD"),
    ] {
        let others = methods
            .iter()
            .filter(|method| !allowed.split(',').any(|it| it == **method));
        for method in others {
            let name = format!("{method} {path}");
            let mut checks = findings.of(&name);
            // A HEAD is answered without a body.
            let bytes =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let mut stream = TcpStream::connect(api.authority()).expect("a connection");
            stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            stream.write_all(bytes.as_bytes()).expect("the API reads");
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            checks.holds(read.is_ok(), format!("no answer: {read:?}"));
            let answer = answer.to_ascii_lowercase();
            let allow = format!("\r\nallow: {}\r\n", allowed.to_ascii_lowercase());
            let is_refused = answer.starts_with("http/1.1 405 ") && answer.contains(&allow);
            let media_type = "\r\ncontent-type: application/problem+json\r\n";
            let is_problem = is_refused && answer.contains(media_type);
            checks.holds(is_problem, format!("the answer is {answer}"));
        }
    }
}

/// A body whose end never comes is refused once it is too large, and the connection ends.
fn endless(api: &Process, findings: &mut Findings) {
    let mut reading = TcpStream::connect(api.authority()).expect("a connection");
    reading.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let mut writing = reading.try_clone().expect("the same socket");
    let endless = std::thread::spawn(move || {
        let chunk = ["10000\r\n", &" ".repeat(0x10000), "\r\n"].concat();
        let mut sent = writing.write_all(&post("Transfer-Encoding: chunked\r\n", ""));
        while sent.is_ok() {
            sent = writing.write_all(chunk.as_bytes());
        }
    });
    let mut status = [0; 12];
    let read = reading.read_exact(&mut status);
    let found = (read.is_ok(), String::from_utf8_lossy(&status).into_owned());
    let expected = (true, "HTTP/1.1 413".to_owned());
    let mut checks = findings.of("chunks without an end");
    checks.equal("the answer", found, expected);
    drop(reading);
    endless.join().expect("the API closed the connection");
}

/// Where a body has two lengths, the bytes between them are handled according to one of them,
/// never as a request of the next user of the connection.
fn hidden(api: &Process, findings: &mut Findings) {
    let mut checks = findings.of("an order behind a body with two lengths");
    let mut connection = Connection::open(&api.url()).expect("the API accepts connections");
    let smuggled = sized(order("smuggled").to_string());
    let headers = "Content-Length: 5\r\nContent-Length: 7\r\n";
    let _ = connection.send(&[post(headers, "hello"), smuggled].concat());
    let answer = connection.receive().map(|answer| answer.status).ok();
    checks.equal("the status", answer, Some(400));
    let next = connection.receive().map(|answer| answer.status).ok();
    checks.equal("the next answer", next, None);
}

/// The limit of the topic is below that of the API: a larger order is refused, and no other.
fn larger_than_the_topic_allows(env: &Env, api: &Process) {
    let log = env.log();
    log.configure_topic(&env.topic(), "max.message.bytes", "50000");
    let url = format!("{}/orders", api.url());
    let mut large = order("larger-than-the-topic-allows");
    let item = large["items"][0].clone();
    large["items"] = vec![item; 500].into();
    let large = large.to_string();
    // A broker may need a moment to apply its new setting.
    wait_until("the lower limit of the topic", TIMEOUT, || {
        http::post(&url, &large).status == 413
    });
    let before = log.ends(&env.topic());
    let answer = http::post(&url, &large).expect_status(413);
    assert_eq!(answer.json()["type"], "too-large");
    assert_eq!(log.ends(&env.topic()), before);
    api.accepts("small");
}
