//! What the public port answers to requests that are not as they should be, through the real server.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::env::orders::order;
use crate::env::{Env, PATIENCE, Process, http};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn post(api: &Process, headers: &[(&str, &str)], body: &[u8]) -> http::Response {
    let url = format!("{}/orders", api.url());
    http::request("POST", &url, headers, body).expect("it answers")
}

fn get(api: &Process, path: &str, headers: &[(&str, &str)]) -> http::Response {
    let url = format!("{}{path}", api.url());
    http::request("GET", &url, headers, b"").expect("it answers")
}

#[test]
fn a_body_that_is_not_plain_json_of_a_fair_size_is_refused() {
    let env = Env::ready();
    let api = env.api();
    let body = order("refused").to_string();
    for (headers, status) in [
        (vec![("Content-Type", "text/plain")], 415),
        (vec![], 415),
        (vec![JSON, ("Content-Encoding", "gzip")], 415),
    ] {
        let answer = post(&api, &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    let limit = 512 << 10;
    let padded = |bytes: usize| [body.as_bytes(), &vec![b' '; bytes - body.len()]].concat();
    assert_eq!(post(&api, &[JSON], &padded(limit)).status, 202);
    assert_eq!(post(&api, &[JSON], &padded(limit + 1)).status, 413);
}

#[test]
fn a_body_without_an_end_is_refused_once_it_is_too_large() {
    let env = Env::ready();
    let api = env.api();
    let authority = api.url().replace("http://", "");
    let mut reading = TcpStream::connect(authority).expect("it accepts");
    reading.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut writing = reading.try_clone().expect("the same socket");
    let endless = std::thread::spawn(move || {
        let head = "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let chunk = ["10000\r\n", &" ".repeat(0x10000), "\r\n"].concat();
        let mut sent = writing.write_all(head.as_bytes());
        while sent.is_ok() {
            sent = writing.write_all(chunk.as_bytes());
        }
    });
    let mut status = [0; 12];
    reading.read_exact(&mut status).expect("it answers");
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(reading);
    endless.join().expect("the API closed the connection");
}

#[test]
fn other_methods_and_paths_are_told_what_there_is() {
    let env = Env::ready();
    let api = env.api();
    for (method, path, allowed) in [
        ("GET", "/orders", "POST"),
        ("BREW", "/orders", "POST"),
        ("DELETE", "/api/order/a", "GET,HEAD"),
        ("POST", "/api/order/a", "GET,HEAD"),
    ] {
        let url = format!("{}{path}", api.url());
        let answer = http::request(method, &url, &[], b"").expect("it answers");
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    assert_eq!(get(&api, "/nope", &[]).status, 404);
    // A slash that is not escaped begins another path.
    assert_eq!(get(&api, "/api/order/a/b", &[]).status, 404);
    for bad in ["%ff", "a%0Ab", "%00", "%7F", "%zz"] {
        assert_eq!(
            get(&api, &format!("/api/order/{bad}"), &[]).status,
            400,
            "{bad}"
        );
    }
}

#[test]
fn a_head_over_32_kib_is_refused() {
    let env = Env::ready();
    let api = env.api();
    let long = "a".repeat(40 << 10);
    assert_eq!(get(&api, "/healthz", &[("X-Long", &long)]).status, 431);
    assert_eq!(get(&api, "/healthz", &[]).status, 200);
}

#[test]
fn an_accepted_order_says_where_it_is_and_is_not_sent_to_who_has_it() {
    let env = Env::ready();
    let api = env.api();
    let posted = post(&api, &[JSON], order("here").to_string().as_bytes());
    assert_eq!(posted.status, 202, "{}", posted.text());
    let place = posted.header("location").expect("a place").to_owned();
    assert_eq!(place, "/api/order/here");

    let found = get(&api, &place, &[]);
    assert_eq!((found.status, found.json()), (200, order("here")));
    let tag = found.header("etag").expect("a tag").to_owned();
    let unchanged = get(
        &api,
        &place,
        &[("If-None-Match", &tag), ("Connection", "close")],
    );
    assert_eq!(unchanged.status, 304);
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    assert!(unchanged.body.is_empty(), "{}", unchanged.text());
    let other = get(&api, &place, &[("If-None-Match", "\"another\"")]);
    assert_eq!(other.status, 200);
}
