//! The client against a scripted server: each connection gets the next response.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread::{self, JoinHandle};

use super::*;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(300);

/// Sends one response per connection and returns the requests; an empty response closes it.
fn server(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4_096];
            let read = stream.read(&mut request).unwrap();
            requests.push(String::from_utf8_lossy(&request[..read]).into_owned());
            stream.write_all(answer.as_bytes()).unwrap();
            // To close it with unread bytes would take away the response.
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = io::copy(&mut stream, &mut io::sink());
        }
        requests
    });
    (Client::new(url, None), served)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn accepted() -> String {
    let body = r#"{"status":"accepted","order_uid":"a"}"#;
    answer("202 Accepted", "", body)
}

fn assert_accepted(outcome: Result<SendOutcome, ClientError>) {
    let order_uid = "a".to_owned();
    assert_eq!(outcome.unwrap(), SendOutcome::Accepted { order_uid });
}

fn busy(outcome: &str) -> String {
    let body = format!(
        r#"{{"type":"about:blank","title":"Busy","status":503,"detail":"the log is unavailable","outcome":"{outcome}"}}"#
    );
    answer("503 Service Unavailable", "retry-after: 0\r\n", &body)
}

fn queued() -> String {
    let body = r#"{"status":"lookup_queued"}"#;
    answer("202 Accepted", "retry-after: 0\r\n", body)
}

#[test]
fn an_accepted_order_has_its_uid() {
    let (client, served) = server(vec![accepted()]);
    assert_accepted(client.send(b"{}", LONG));
    let request = served.join().unwrap().remove(0);
    assert!(
        request.starts_with("POST /orders HTTP/1.1\r\n"),
        "{request}"
    );
    let content_type = "content-type: application/json\r\n";
    assert!(request.contains(content_type), "{request}");
}

#[test]
fn a_refusal_has_every_fault_and_is_not_retried() {
    let body = r#"{"type":"t","title":"Unprocessable","status":422,"detail":"2 faults",
        "errors":[{"pointer":"/entry","message":"must be a text"}]}"#;
    let (client, served) = server(vec![answer("422 Unprocessable Content", "", body)]);
    let faults = vec![Fault {
        pointer: "/entry".into(),
        message: "must be a text".into(),
    }];
    let refused = SendOutcome::Refused {
        status: 422,
        detail: "2 faults".into(),
        faults,
        more_faults: 0,
    };
    assert_eq!(client.send(b"{}", LONG).unwrap(), refused);
    assert_eq!(served.join().unwrap().len(), 1);
}

#[test]
fn an_order_is_sent_again_after_a_503_and_after_a_lost_response() {
    let (refused, unknown, lost) = (busy("not_accepted"), busy("unknown"), String::new());
    let (client, served) = server(vec![refused, unknown, lost, accepted()]);
    assert_accepted(client.send(b"{}", LONG));
    assert_eq!(served.join().unwrap().len(), 4);
}

#[test]
fn an_order_that_may_be_in_the_log_stays_unknown_when_later_attempts_fail() {
    let pause = busy("not_accepted").replace("retry-after: 0", "retry-after: 60");
    let (client, served) = server(vec![busy("unknown"), pause.clone()]);
    let sent = client.send(b"{}", SHORT).unwrap();
    assert!(matches!(sent, SendOutcome::Unknown(_)), "{sent:?}");
    served.join().unwrap();
    let (client, served) = server(vec![pause]);
    let sent = client.send(b"{}", SHORT).unwrap();
    assert!(matches!(sent, SendOutcome::NotAccepted(_)), "{sent:?}");
    served.join().unwrap();
}

#[test]
fn an_api_that_never_responded_is_unreachable_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(url.clone(), None);
    let started = Instant::now();
    let error = client.send(b"{}", LONG).unwrap_err().to_string();
    let start = format!("no connection to the API at `{url}`: ");
    assert!(error.starts_with(&start), "{error}");
    assert!(client.get("a", LONG).is_err());
    assert!(started.elapsed() < LONG);
}

#[test]
fn another_server_is_not_mistaken_for_the_api() {
    let (client, served) = server(vec![answer("404 Not Found", "", "<html>"); 2]);
    let sent = client.send(b"{}", LONG).unwrap_err();
    let got = client.get("a", LONG).unwrap_err();
    for error in [sent, got] {
        let is_another = matches!(error, ClientError::NotTheApi { status: 404, .. });
        assert!(is_another, "{error:?}");
    }
    served.join().unwrap();
}

#[test]
fn what_another_server_says_is_shown_in_one_short_line() {
    let long = "x\\n\\u001b[31m".repeat(2_000);
    let fault = format!(r#"{{"pointer":"","message":"{long}"}}"#);
    let faults = vec![fault; 5].join(",");
    let body = format!(r#"{{"title":"t","detail":"{long}","errors":[{faults}]}}"#);
    let (client, served) = server(vec![answer("422 Unprocessable Entity", "", &body)]);
    let refused = client.send(b"{}", SHORT).unwrap();
    let SendOutcome::Refused { detail, faults, .. } = refused else {
        panic!("{refused:?}")
    };
    for text in [&detail, &faults[4].message] {
        assert!(
            text.starts_with(r"x\n\u{1b}[31m") && text.ends_with('…'),
            "{text}"
        );
        assert!(text.len() < 3_000, "{text}");
    }
    served.join().unwrap();
}

#[test]
fn the_body_of_an_error_is_read_to_a_limit_and_its_outcome_stays_unknown() {
    // Its end never comes: the rest is not waited for.
    let body = format!(r#"{{"title":"t","detail":"{}"#, "x".repeat(1 << 20));
    let head = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 99999999999999\r\n\r\n";
    let (client, served) = server(vec![format!("{head}{body}")]);
    let outcome = client.post(b"{}", LONG).unwrap();
    let SendOutcome::Unknown(error) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(error.reason, "status 500");
    // The server cannot write what is not read.
    let _ = served.join();
}

#[test]
fn a_receipt_without_a_uid_is_that_of_another_server() {
    for uid in ["", r"a\nb", &"a".repeat(129)] {
        let body = format!(r#"{{"status":"accepted","order_uid":"{uid}"}}"#);
        let (client, served) = server(vec![answer("202 Accepted", "", &body)]);
        let outcome = client.send(b"{}", SHORT);
        assert!(
            matches!(outcome, Err(ClientError::NotTheApi { .. })),
            "{outcome:?}"
        );
        served.join().unwrap();
    }
}

#[test]
fn a_token_is_sent_and_its_refusal_is_neither_an_outage_nor_an_unknown_outcome() {
    let body = r#"{"type":"t","title":"a token is required","status":401,"detail":"send a token"}"#;
    let denied = answer("401 Unauthorized", "", body);
    let (Client { base_url, .. }, served) = server(vec![denied.clone(), denied]);
    let client = Client::new(base_url, Some("orders_s3cret".into()));
    for error in [
        client.send(b"{}", LONG).unwrap_err(),
        client.get("a", LONG).unwrap_err(),
    ] {
        let is_denied = matches!(error, ClientError::Denied { status: 401, .. });
        assert!(
            is_denied && error.to_string().ends_with("send a token"),
            "{error}"
        );
    }
    for request in served.join().unwrap() {
        let header = "authorization: Bearer orders_s3cret\r\n";
        assert!(request.contains(header), "{request}");
    }
}

#[test]
fn a_found_order_states_whether_it_may_be_outdated() {
    let headers = "order-behind: 7\r\ncache-status: orders; hit; detail=unverified\r\n";
    let body = r#"{"order_uid":"a/b","date_created":"","added_later":1}"#;
    let (client, served) = server(vec![answer("200 OK", headers, body)]);
    let order = Order {
        order_uid: "a/b".into(),
        ..Order::default()
    };
    let found = GetOutcome::Found(Box::new(FoundOrder {
        order,
        behind: Some("7".into()),
        is_unverified: true,
    }));
    assert_eq!(client.get("a/b é", LONG).unwrap(), found);
    let request = served.join().unwrap().remove(0);
    let start = "GET /api/order/a%2Fb%20%C3%A9 HTTP/1.1\r\n";
    assert!(request.starts_with(start), "{request}");
}

#[test]
fn a_queued_lookup_is_retried_until_the_deadline() {
    let queued = queued();
    let body = r#"{"type":"t","title":"Not Found","status":404,"detail":"there is no such order"}"#;
    let absent = answer("404 Not Found", "", body);
    let (client, served) = server(vec![queued.clone(), absent]);
    let detail = "there is no such order".to_owned();
    let got = client.get("a", LONG).unwrap();
    assert_eq!(got, GetOutcome::NotFound { detail });
    assert_eq!(served.join().unwrap().len(), 2);
    let (client, served) = server(vec![queued]);
    let got = client.get("a", Duration::ZERO).unwrap();
    assert!(matches!(got, GetOutcome::Pending(_)), "{got:?}");
    served.join().unwrap();
}

#[test]
fn a_get_ends_when_its_wait_does_whether_the_api_answers_or_not() {
    // The kernel accepts the connection and the request, and no response follows.
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(format!("http://{}", frozen.local_addr().unwrap()), None);
    let started = Instant::now();
    let got = client.get("a", SHORT).unwrap();
    assert!(matches!(got, GetOutcome::Pending(_)), "{got:?}");
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(2), "after {elapsed:?}");

    // The lookup in progress tells more than the attempt that the deadline ended.
    let (client, served) = silent_after(queued());
    let started = Instant::now();
    let got = client.get("a", Duration::from_secs(1)).unwrap();
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(3), "after {elapsed:?}");
    let GetOutcome::Pending(error) = got else {
        panic!("{got:?}");
    };
    assert_eq!(error.reason, "the lookup is in progress");
    drop(client);
    served.join().unwrap();
}

/// Sends one response, and nothing on a second connection, which it holds until the client ends it.
fn silent_after(response: String) -> (Client, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        first.read_exact(&mut [0; 32]).unwrap();
        first.write_all(response.as_bytes()).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        let _ = second.read_to_end(&mut Vec::new());
    });
    (Client::new(url, None), served)
}

#[test]
fn a_request_that_was_never_sent_is_never_reported_as_perhaps_accepted() {
    // No such host; a port that is refused; a name that is none; a proxy that is not there.
    for url in [
        "http://nosuch.invalid:8080",
        "http://127.0.0.1:1",
        "https://nosuch.invalid",
        "http://127.0.0.1:99999",
    ] {
        let client = Client::new(url.into(), None);
        for error in [
            client.send(b"{}", SHORT).unwrap_err(),
            client.get("a", SHORT).unwrap_err(),
        ] {
            let is_unreachable = matches!(error, ClientError::Unreachable { .. });
            assert!(is_unreachable, "{url}: {error:?}");
        }
    }
    // A peer that accepts the connection and does not speak TLS.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let served = thread::spawn(move || drop(listener.accept().unwrap()));
    let error = Client::new(url, None).send(b"{}", LONG).unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
    served.join().unwrap();
}
