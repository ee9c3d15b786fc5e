//! Requests that are wrong regardless of the document: sizes, lengths, types, heads, methods, paths.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::json;
use support::http::{self, Connection, Response};
use support::on_both_engines;
use support::orders::order;
use support::{Engines, Env, Process, TIMEOUT, eventually};

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
        accepted += u64::from(request.status == 202);
    }
    methods(&api, &mut findings);
    endless(&api, &mut findings);
    hidden(&api, &mut findings);
    let ends: i64 = env.log().ends(&env.topic()).iter().sum();
    findings.equal("the log", "the number of records", ends, accepted as i64);
    findings.report();

    larger_than_the_log_takes(&env, &api);
    api.wait_ready();
}

fn send(api: &Process, request: &Request, findings: &mut Findings) {
    let name = request.name.as_str();
    let mut connection = Connection::open(&api.url()).expect("the API takes connections");
    // The answer may come, and the connection end, before everything is sent.
    let _ = connection.send(&request.bytes);
    if request.ends {
        let _ = connection.shutdown_write();
    }
    let answer = match connection.receive() {
        Ok(answer) => answer,
        Err(error) => return findings.holds(name, false, format!("no answer: {error}")),
    };
    findings.equal(name, "the status", answer.status, request.status);
    if !request.kind.is_empty() {
        check_problem(name, &answer, request.kind, findings);
    }
    if request.closes {
        let next = connection.receive().map(|answer| answer.status);
        let is_closed = next.as_ref().is_err_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            )
        });
        findings.holds(name, is_closed, format!("the connection goes on: {next:?}"));
    }
}

fn check_problem(name: &str, answer: &Response, kind: &str, findings: &mut Findings) {
    let media_type = answer.header("content-type");
    findings.equal(
        name,
        "the media type",
        media_type,
        Some("application/problem+json"),
    );
    let said = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!({}));
    findings.equal(name, "the type", &said["type"], &json!(kind));
    findings.equal(
        name,
        "the status it tells",
        &said["status"],
        &json!(answer.status),
    );
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
        for method in methods
            .iter()
            .filter(|method| !allowed.split(',').any(|one| one == **method))
        {
            let name = format!("{method} {path}");
            // A HEAD is answered without a body.
            let bytes = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let mut stream =
                TcpStream::connect(api.url().replace("http://", "")).expect("it accepts");
            stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
            stream.write_all(bytes.as_bytes()).expect("it is read");
            let mut said = String::new();
            let read = stream.read_to_string(&mut said);
            findings.holds(&name, read.is_ok(), format!("no answer: {read:?}"));
            let said = said.to_ascii_lowercase();
            let expected = format!("\r\nallow: {}\r\n", allowed.to_ascii_lowercase());
            let is_refused = said.starts_with("http/1.1 405 ") && said.contains(&expected);
            findings.holds(&name, is_refused, format!("is answered {said}"));
            let is_problem = said.contains("\r\ncontent-type: application/problem+json\r\n");
            findings.holds(&name, is_problem, format!("is answered {said}"));
        }
    }
}

/// A body whose end never comes is refused once it is too large, and the connection ends.
fn endless(api: &Process, findings: &mut Findings) {
    let mut reading = TcpStream::connect(api.url().replace("http://", "")).expect("it accepts");
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
    findings.equal("chunks without an end", "the answer", found, expected);
    drop(reading);
    endless.join().expect("the API closed the connection");
}

/// Where a body has two lengths, the bytes between them are handled according to one of them,
/// never as a request of the next user of the connection.
fn hidden(api: &Process, findings: &mut Findings) {
    let name = "an order behind a body with two lengths";
    let mut connection = Connection::open(&api.url()).expect("the API takes connections");
    let smuggled = sized(order("smuggled").to_string());
    let headers = "Content-Length: 5\r\nContent-Length: 7\r\n";
    let _ = connection.send(&[post(headers, "hello"), smuggled].concat());
    let answer = connection.receive().map(|answer| answer.status).ok();
    findings.equal(name, "the status", answer, Some(400));
    let next = connection.receive().map(|answer| answer.status).ok();
    findings.equal(name, "what comes after it", next, None);
}

/// The topic takes less than the API does: that order is refused, and no other.
fn larger_than_the_log_takes(env: &Env, api: &Process) {
    let log = env.log();
    log.configure_topic(&env.topic(), "max.message.bytes", "50000");
    let url = format!("{}/orders", api.url());
    let mut large = order("larger-than-the-log-takes");
    let item = large["items"][0].clone();
    large["items"] = vec![item; 500].into();
    let large = large.to_string();
    // A broker may need a moment to apply its new setting.
    eventually("the topic takes less", TIMEOUT, || {
        (http::post(&url, &large).status == 413).then_some(())
    });
    let before = log.ends(&env.topic());
    let answer = http::post(&url, &large);
    let kind = &answer.json()["type"];
    assert_eq!(
        (answer.status, kind),
        (413, &json!("too-large")),
        "{}",
        answer.text()
    );
    assert_eq!(log.ends(&env.topic()), before);
    assert_eq!(http::post(&url, order("small").to_string()).status, 202);
}
