//! The HTTP headers of orders on the public port.
//!
//! `bad_input::http_requests` has malformed requests.

use support::orders::order;
use support::{Env, Process, http};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn post(api: &Process, headers: &[(&str, &str)], body: &[u8]) -> http::Response {
    let url = format!("{}/orders", api.url());
    http::request("POST", &url, headers, body).expect("an answer")
}

fn get(api: &Process, path: &str, headers: &[(&str, &str)]) -> http::Response {
    let url = format!("{}{path}", api.url());
    http::request("GET", &url, headers, b"").expect("an answer")
}

#[test]
fn an_accepted_order_has_a_location_and_an_etag_that_answers_304() {
    let env = Env::ready();
    let api = env.api();
    let posted = post(&api, &[JSON], order("here").to_string().as_bytes()).expect_status(202);
    let location = posted.header("location").expect("a location").to_owned();
    assert_eq!(location, "api/order/here");
    let path = "/api/order/here";

    let found = get(&api, path, &[]).expect_status(200);
    assert_eq!(found.json(), order("here"));
    let tag = found.header("etag").expect("a tag").to_owned();
    let unchanged = get(
        &api,
        path,
        &[("If-None-Match", &tag), ("Connection", "close")],
    );
    assert_eq!(unchanged.status, 304);
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    assert!(unchanged.body.is_empty(), "{}", unchanged.text());
    let other = get(&api, path, &[("If-None-Match", "\"another\"")]);
    assert_eq!(other.status, 200);
}
