//! Clients that shut down their sending half behind their request, as `nc -N` and some proxies do.

use support::http::Connection;
use support::{Env, Process, TIMEOUT, wait_until};

fn open(authority: &str) -> Connection {
    Connection::open(authority).expect("the port is open")
}

/// Sends these bytes and then the end; the answer's status.
fn send_and_end(authority: &str, bytes: &[u8]) -> u16 {
    let mut connection = open(authority);
    connection.send(bytes).expect("the service reads");
    connection.shutdown_write().expect("it is connected");
    let answer = connection.receive();
    let answer = answer.unwrap_or_else(|error| panic!("no answer: {error}"));
    // Nothing else is sent on it.
    connection.receive().expect_err("one request was sent");
    answer.status
}

fn get_bytes(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

#[test]
fn a_client_that_shuts_down_its_sending_half_still_gets_its_answer() {
    let env = Env::ready();
    let (api, consumer) = (env.api(), env.consumer());
    let authority = api.authority();
    for number in 0..11 {
        let uid = format!("uid-{number}");
        assert_eq!(send_and_end(&authority, &super::post_bytes(&uid)), 202);
        let cached = get_bytes(&format!("/api/order/{uid}"));
        assert_eq!(send_and_end(&authority, &cached), 200);
        // Not in the cache, so it waits for the consumer.
        let unknown = get_bytes(&format!("/api/order/unknown-{number}"));
        assert_eq!(send_and_end(&authority, &unknown), 404);
        for service in [&api, &consumer] {
            let probe = get_bytes("/livez");
            assert_eq!(send_and_end(&service.admin_authority(), &probe), 200);
        }
    }
}

#[test]
fn a_half_closed_connection_without_a_request_does_not_stay_open() {
    let env = Env::ready();
    let api = env.api();
    let held: Vec<Connection> = (0..100).map(|number| half_closed(&api, number)).collect();
    // Long before an idle connection is closed, and while the clients hold theirs.
    wait_until("all connections to be closed", TIMEOUT, || {
        api.metric("orders_http_connections") == 0
    });
    drop(held);
}

/// Ends its sending half after nothing, a part of a head, a part of a body, or an answered request.
fn half_closed(api: &Process, number: usize) -> Connection {
    let mut connection = open(&api.authority());
    let post = super::post_bytes("never-sent-whole");
    match number % 4 {
        0 => {}
        1 => connection
            .send(b"GET /healthz HTTP/1.1\r\nHost: lo")
            .expect("it reads"),
        2 => connection.send(&post[..post.len() - 1]).expect("it reads"),
        _ => assert_eq!(connection.get("/healthz").expect("it answers").status, 200),
    }
    connection.shutdown_write().expect("it is connected");
    connection
}
