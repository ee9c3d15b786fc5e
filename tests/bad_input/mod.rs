//! Every kind of bad input, at the API and through the topic: each gets its answer or becomes a dead
//! letter, nothing stops or is lost, and everything after it works.
//!
//! `rows` has the documents as data, `requests` the requests around them. One pipeline processes a whole
//! table, and a test lists every case that failed. The other modules have what only a topic can contain,
//! and `round_trips` what is valid and must come back unchanged.

mod answers;
mod at_the_api;
mod damaged_log;
mod http_requests;
mod lookups;
mod repeats;
mod requests;
mod round_trips;
mod rows;
mod spelling;
mod strange_records;
mod through_the_topic;

use std::fmt::{Debug, Display};

use serde_json::Value;
use support::audit::audit_offsets;
use support::orders::order;
use support::process::metric;
use support::{Engines, Env, Process, TIMEOUT, eventually, http};

/// What was not as it should be. A test collects all of it before it fails.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn equal<T: PartialEq + Debug>(&mut self, case: &str, what: &str, found: T, expected: T) {
        if found != expected {
            let line = format!("{case}: {what} is {found:?} and not {expected:?}");
            self.0.push(shortened(&line));
        }
    }

    fn holds(&mut self, case: &str, holds: bool, otherwise: impl Display) {
        if !holds {
            self.0.push(shortened(&format!("{case}: {otherwise}")));
        }
    }

    /// Panics with everything that was found.
    fn report(self) {
        let count = self.0.len();
        assert!(self.0.is_empty(), "{count} findings\n{}", self.0.join("\n"));
    }
}

/// Some documents have a megabyte.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Both services on topics and a database of their own. They log all they ever would.
struct World {
    env: Env,
    api: Process,
    consumer: Process,
}

impl World {
    /// Nothing is in the API's cache but what it accepts or follows.
    fn start(engines: Engines, partitions: i32) -> World {
        World::on(engines.with_partitions(partitions))
    }

    fn on(env: Env) -> World {
        let consumer = env.consume().arg("-v").spawn();
        let api = env
            .serve_api()
            .arg("-v")
            .env("CACHE_LOAD_LIMIT", "0")
            .start();
        consumer.wait_ready();
        World { env, api, consumer }
    }

    fn connect(&self) -> http::Connection {
        http::Connection::open(&self.api.url()).expect("the API takes connections")
    }

    /// Checks that an order is accepted, stored and returned, and that every record is accounted for.
    fn still_works(&mut self) {
        assert!(self.api.is_running() && self.consumer.is_running());
        let good = order("after-all-that");
        let posted = self.api.post(good.to_string());
        assert_eq!(posted.status, 202, "{}", posted.text());
        self.env.wait_until_applied();
        let stored = "SELECT count(*) FROM orders WHERE order_uid = 'after-all-that'";
        assert_eq!(self.env.db().number(stored), 1);
        let got = get(&mut self.connect(), "after-all-that");
        assert_eq!((got.status, got.json()), (200, good));
        audit_offsets(&self.env);
        for service in [&self.api, &self.consumer] {
            service.wait_ready();
        }
    }

    /// Checks that neither log has a control character or a customer's data.
    fn look_at_logs(&self, findings: &mut Findings) {
        for (name, service) in [("the API", &self.api), ("the consumer", &self.consumer)] {
            let lines = service.lines();
            findings.holds(name, !lines.is_empty(), "logs nothing");
            for line in lines {
                let is_raw = line.chars().any(char::is_control);
                findings.holds(
                    name,
                    !is_raw,
                    format!("logs a raw control character: {line:?}"),
                );
                let is_private = line.contains(rows::MARK);
                findings.holds(
                    name,
                    !is_private,
                    format!("logs what is in an order: {line:?}"),
                );
            }
        }
    }
}

/// What a GET says in the end: a lookup may be queued while the machine is busy.
fn get(connection: &mut http::Connection, uid: &str) -> http::Response {
    let path = format!("/api/order/{uid}");
    eventually(format!("an answer to GET {path}"), TIMEOUT, || {
        let answer = connection.get(&path);
        let answer = answer.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        (answer.status != 202).then_some(answer)
    })
}

/// The `pointer` of each fault that a refusal names.
fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors
        .iter()
        .filter_map(|error| error["pointer"].as_str())
        .collect()
}
