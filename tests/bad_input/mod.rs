//! Every kind of bad input, at the API and through the topic: each gets its answer or becomes a dead
//! letter, nothing stops or is lost, and everything after it works.
//!
//! `rows` has the documents as data, `requests` the HTTP requests. One pipeline processes a whole table,
//! and a test lists every case that failed. The other modules have what only a topic can contain, and
//! `round_trips` valid orders, which must come back unchanged.

mod at_the_api;
mod fields;
mod forged_orders;
mod forged_replies;
mod fuzzed;
mod http_requests;
mod lookups;
mod repetitions;
mod requests;
mod round_trips;
mod rows;
mod spelling;
mod stored_rows;
mod through_the_topic;
mod unusual_records;

use std::fmt::{Debug, Display};

use serde_json::Value;
use support::audit::audit_offsets;
use support::orders::order;
use support::{Engines, Env, Process, TIMEOUT, eventually, http};

/// The differences from what is expected. A test collects all of them before it fails.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    /// The checks of one case.
    fn of<'a>(&'a mut self, case: &'a str) -> Checks<'a> {
        Checks {
            findings: self,
            case,
        }
    }

    /// Panics with everything that was found.
    fn report(self) {
        let count = self.0.len();
        assert!(self.0.is_empty(), "{count} findings\n{}", self.0.join("\n"));
    }
}

struct Checks<'a> {
    findings: &'a mut Findings,
    case: &'a str,
}

impl Checks<'_> {
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: T) {
        let otherwise = format!("{what} is {found:?} and not {expected:?}");
        self.holds(found == expected, otherwise);
    }

    fn holds(&mut self, holds: bool, otherwise: impl Display) {
        if !holds {
            let line = format!("{}: {otherwise}", self.case);
            self.findings.0.push(shortened(&line));
        }
    }

    /// Checks that an answer is a problem of that type.
    fn problem(&mut self, answer: &http::Response, status: u16, kind: &str) {
        let media_type = answer.header("content-type");
        self.equal(
            "the media type",
            media_type,
            Some("application/problem+json"),
        );
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let found = (answer.status, &problem["type"], &problem["status"]);
        self.equal("the answer", found, (status, &kind.into(), &status.into()));
    }
}

/// Some documents have a megabyte.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(600) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Both services on topics and a database of their own, with verbose logs.
struct Pipeline {
    env: Env,
    api: Process,
    consumer: Process,
}

impl Pipeline {
    /// The API's cache has only what the API accepts or follows.
    fn start(engines: Engines, partitions: i32) -> Pipeline {
        Pipeline::on(engines.with_partitions(partitions))
    }

    fn on(env: Env) -> Pipeline {
        let consumer = env.consume().arg("-v").spawn();
        let api = env.serve_api().arg("-v").without_warm_up().start();
        consumer.wait_ready();
        Pipeline { env, api, consumer }
    }

    fn connect(&self) -> http::Connection {
        http::Connection::open(&self.api.url()).expect("the API takes connections")
    }

    /// Checks that an order is accepted, stored and returned, and that every record is accounted for.
    fn assert_works(&mut self) {
        assert!(self.api.is_running() && self.consumer.is_running());
        let good = order("after-bad-input");
        self.api.post(good.to_string()).expect_status(202);
        self.env.wait_until_applied();
        let stored = "SELECT count(*) FROM orders WHERE order_uid = 'after-bad-input'";
        assert_eq!(self.env.db().number(stored), 1);
        let got = get(&mut self.connect(), "after-bad-input");
        assert_eq!((got.status, got.json()), (200, good));
        audit_offsets(&self.env);
        for service in [&self.api, &self.consumer] {
            service.wait_ready();
        }
    }

    /// Checks that neither log has a control character or a customer's data.
    fn check_logs(&self, findings: &mut Findings) {
        for (name, service) in [("the API", &self.api), ("the consumer", &self.consumer)] {
            let (lines, mut checks) = (service.lines(), findings.of(name));
            checks.holds(!lines.is_empty(), "logs nothing");
            for line in lines {
                let is_raw = line.chars().any(char::is_control);
                checks.holds(!is_raw, format!("logs a control character: {line:?}"));
                let is_private = line.contains(rows::MARK);
                checks.holds(!is_private, format!("logs data of an order: {line:?}"));
            }
        }
    }
}

/// The final answer to a GET: a lookup may be queued while the machine is busy.
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
