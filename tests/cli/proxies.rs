//! `orders send` and `orders get` through the proxy that the environment names.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use support::Orders;
use support::process::orders;

const API: &str = "http://api.example:8080";

/// Answers one request, and returns it.
fn proxy(response: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    let served = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client connects");
        let mut request = Vec::new();
        let has_ended = |request: &[u8]| match request.starts_with(b"CONNECT ") {
            true => request.ends_with(b"\r\n\r\n"),
            false => request.ends_with(b"{}"),
        };
        while !has_ended(&request) {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("it sends a request");
            request.extend(byte);
        }
        client.write_all(response.as_bytes()).expect("it reads");
        String::from_utf8_lossy(&request).into_owned()
    });
    (address, served)
}

const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 37\r\nconnection: close\r\n\r\n\
                        {\"status\":\"accepted\",\"order_uid\":\"a\"}";
const NOT_ALLOWED: &str =
    "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn send() -> Orders<'static> {
    orders("send - --timeout 5s")
        .stdin("{}")
        .env("ORDERS_API_URL", API)
}

#[test]
fn a_plain_request_goes_through_a_proxy_in_absolute_form_and_opens_no_tunnel() {
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let (address, served) = proxy(ACCEPTED);
        let url = format!("http://me:s3cret@{address}");
        // A proxy for other URLs is not used.
        let sent = send()
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env(name, url);
        sent.run().succeeds().prints("a\n", "");
        let request = served.join().expect("the proxy answers");
        let start = "POST http://api.example:8080/orders HTTP/1.1\r\n";
        assert!(request.starts_with(start), "{request}");
        for header in [
            "host: api.example:8080\r\n",
            "proxy-authorization: Basic bWU6czNjcmV0\r\n",
        ] {
            assert!(request.contains(header), "{request}");
        }
    }
}

#[test]
fn https_opens_a_tunnel_through_a_proxy_and_a_refused_one_has_sent_nothing() {
    let (address, served) = proxy(NOT_ALLOWED);
    let sent = send().env("ORDERS_API_URL", "https://api.example:8443");
    let ran = sent.env("HTTPS_PROXY", format!("http://{address}")).run();
    ran.exits(5)
        .reports("no connection to the API at `https://api.example:8443`: ");
    let request = served.join().expect("the proxy answers");
    assert!(
        request.starts_with("CONNECT api.example:8443 HTTP/1.1\r\n"),
        "{request}"
    );
}

#[test]
fn hosts_of_no_proxy_and_this_machine_are_reached_directly() {
    for (url, name) in [
        ("http://127.0.0.1:1", "NO_PROXY"),
        ("http://localhost:1", "OTHER"),
    ] {
        let sent = send()
            .env("ORDERS_API_URL", url)
            .env("HTTP_PROXY", "http://127.0.0.1:2");
        let ran = sent.env(name, "127.0.0.1").run().exits(5);
        ran.reports("Connection refused");
    }
    let sent = send().env("HTTP_PROXY", "http://127.0.0.1:1");
    let ran = sent.env("NO_PROXY", "api.example").run().exits(5);
    ran.reports("failed to lookup address information");
}
