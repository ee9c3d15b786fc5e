//! How both services start, work, stop and are killed; one rule per test.
//!
//! Orders come through the API. `faults` has what the consumer alone survives.

mod access;
mod body_budget;
mod client_timeouts;
mod closed_pipes;
mod control_socket;
mod descriptors;
mod half_closed;
mod identity;
mod kafka_authentication;
mod kafka_cluster;
mod kafka_disk_full;
mod kafka_unavailable;
mod kills;
mod lost_acknowledgements;
mod many_clients;
mod metrics;
mod new_partitions;
mod operators_port;
mod protected;
mod public_http;
mod reverse_proxy;
mod slow_network;
mod starting;
mod stopping;
mod wrong_clock;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use support::http::Connection;
use support::orders::order;
use support::{Env, Process, TIMEOUT, wait_until};

/// Every POST is answered within this time, regardless of Kafka.
const POST_DEADLINE: Duration = Duration::from_secs(8);

/// From the end of a fault until everything works again.
const RECOVERY: Duration = Duration::from_secs(30);

/// The answer to one posted order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Accepted,
    NotAccepted,
    Unknown,
}

/// Each order posted once, with its answer.
#[derive(Default)]
struct Posted(HashMap<String, Outcome>);

impl Posted {
    /// Posts so many orders at the same time, each on a connection of its own. Panics unless each
    /// is answered in time, with 202 or with a 503 that has an outcome.
    fn at_once(&mut self, api: &Process, prefix: &str, orders: usize) {
        let uids: Vec<String> = (0..orders)
            .map(|number| format!("{prefix}-{number}"))
            .collect();
        let mut sent = Vec::new();
        for uid in &uids {
            let mut connection = Connection::open(&api.url()).expect("the API takes connections");
            connection.send(&post_bytes(uid)).expect("the API reads");
            sent.push((uid, Instant::now(), connection));
        }
        for (uid, at, mut connection) in sent {
            let answer = connection.receive().expect("the API answers");
            let took = at.elapsed();
            assert!(took < POST_DEADLINE, "`{uid}` was answered after {took:?}");
            let outcome = match answer.status {
                202 => Outcome::Accepted,
                503 => {
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    match answer.json()["outcome"].as_str() {
                        Some("unknown") => Outcome::Unknown,
                        Some("not_accepted") => Outcome::NotAccepted,
                        other => panic!("the outcome of `{uid}` is {other:?}"),
                    }
                }
                status => panic!("`{uid}` was answered {status}: {}", answer.text()),
            };
            self.0.insert(uid.clone(), outcome);
        }
    }

    /// Posts orders until one is accepted.
    fn until_accepted(&mut self, api: &Process, prefix: &str) {
        wait_until("an order to be accepted", RECOVERY, || {
            let prefix = format!("{prefix}-{}", self.0.len());
            self.at_once(api, &prefix, 1);
            self.count(&prefix, Outcome::Accepted) == 1
        });
    }

    /// Posts so many orders as `at_once`; panics unless each is accepted.
    fn all_accepted(&mut self, api: &Process, prefix: &str, orders: usize) {
        self.at_once(api, prefix, orders);
        assert_eq!(self.count(prefix, Outcome::Accepted), orders, "`{prefix}`");
    }

    fn count(&self, prefix: &str, outcome: Outcome) -> usize {
        let of_prefix = self.0.iter().filter(|(uid, _)| uid.starts_with(prefix));
        of_prefix.filter(|(_, of)| **of == outcome).count()
    }

    /// Compares the answers with the log: an accepted order is there once, one that was not accepted is
    /// not, and one with an unknown outcome at most once.
    fn audit(&self, env: &Env) {
        self.audit_keys(env, |_| true);
    }

    /// The same for some uids: the test wrote others to the log, too.
    fn audit_keys(&self, env: &Env, mut counts: impl FnMut(&str) -> bool) {
        let mut in_log: HashMap<String, usize> = HashMap::new();
        for record in env.kafka().read_all(&env.topic()) {
            *in_log.entry(record.key_text()).or_default() += 1;
        }
        for (uid, outcome) in self.0.iter().filter(|(uid, _)| counts(uid)) {
            let found = in_log.remove(uid).unwrap_or_default();
            let promised = match outcome {
                Outcome::Accepted => 1..=1,
                Outcome::NotAccepted => 0..=0,
                Outcome::Unknown => 0..=1,
            };
            assert!(
                promised.contains(&found),
                "`{uid}` is {found} times in the log and was answered {outcome:?}"
            );
        }
    }
}

/// A request that posts the order of that uid.
fn post_bytes(uid: &str) -> Vec<u8> {
    let body = order(uid).to_string();
    let head = format!(
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head, body].concat().into_bytes()
}

/// Waits until a line of /readyz?verbose starts like this.
fn wait_for_check(process: &Process, start: &str) {
    wait_until(format!("a check `{start}`"), TIMEOUT, || {
        let (_, checks) = process.readiness();
        checks.lines().any(|line| line.starts_with(start))
    });
}

/// Waits until no connection is open.
fn wait_until_connections_are_closed(api: &Process) {
    wait_until("all connections to be closed", TIMEOUT, || {
        api.metric("orders_http_connections") == 0
    });
}
