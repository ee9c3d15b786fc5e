//! The metrics of the API, by prometheus-client.
//!
//! Owns the names and labels. Counting costs a hash of two words and a few atomic adds a request; the
//! state of connections, cache, lookups and followers is read when the metrics are requested.

use std::time::{Duration, Instant};

use axum::http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::body_budget::BodyBudget;
use super::follower_progress::FollowerProgress;
use super::read_model::ReadModel;
use crate::admin::Histogram;
use crate::admin::metrics::{encode, register};
use crate::event_log::{AppendError, Appended};
use crate::http_server::Connections;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Topic {
    topic: String,
}

/// Every metric of the API.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    produce_duration: Histogram,
    produce_errors: Family<Kind, Counter>,
    lookups: Family<Outcome, Counter>,
    connections: Gauge,
    body_bytes: Gauge,
    body_limit: Gauge,
    /// GETs that the cache served.
    pub cache_hits: Counter,
    /// GETs that it could not serve.
    pub cache_misses: Counter,
    /// Lookups sent, including those sent again.
    pub lookups_sent: Counter,
    cache_entries: Gauge,
    cache_bytes: Gauge,
    lookups_pending: Gauge,
    follower_live: Family<Topic, Gauge>,
    follower_lag: Family<Topic, Gauge>,
}

/// What became of a lookup that a GET waited for.
#[derive(Clone, Copy, Debug)]
pub enum LookupResult {
    Found,
    /// By a reply that does not show which request it belongs to.
    Unverified,
    NotFound,
    /// It takes longer than a client should wait.
    Queued,
    NotSent,
    /// Too many were waiting.
    Refused,
}

impl LookupResult {
    const ALL: [LookupResult; 6] = [
        LookupResult::Found,
        LookupResult::Unverified,
        LookupResult::NotFound,
        LookupResult::Queued,
        LookupResult::NotSent,
        LookupResult::Refused,
    ];

    fn label(self) -> Outcome {
        let outcome = match self {
            LookupResult::Found => "found",
            LookupResult::Unverified => "unverified",
            LookupResult::NotFound => "not_found",
            LookupResult::Queued => "queued",
            LookupResult::NotSent => "not_sent",
            LookupResult::Refused => "refused",
        };
        Outcome { outcome }
    }
}

/// Every kind of [`AppendError`].
const PRODUCE_ERRORS: [&str; 5] = ["not_accepted", "no_topic", "too_large", "full", "unknown"];

/// The label of a method. There are few, whatever methods are requested.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    }
}

impl Metrics {
    /// `connections_cut` is counted by the connection loop, `bodies_refused` by the body budget.
    /// `expected` are requests that are counted from zero, so that the rate of the first is right.
    pub fn new(
        connections_cut: Counter,
        bodies_refused: Counter,
        expected: &[(&'static str, Method, u16)],
    ) -> Metrics {
        let mut registry = Registry::with_prefix("orders");
        let to = &mut registry;
        let help = "Time from a request's head to its response";
        let durations: Family<_, _, fn() -> Histogram> =
            Family::new_with_constructor(Histogram::seconds);
        let (name, seconds) = ("http_request_duration", Unit::Seconds);
        to.register_with_unit(name, help, seconds, durations.clone());
        let help = "Connections cut because their client was too slow";
        to.register("http_connections_cut", help, connections_cut);
        let help = "Requests refused because their client had its share of the body budget";
        to.register("http_bodies_refused", help, bodies_refused);
        let produce_duration = Histogram::seconds();
        let help = "Time from sending an order to the log until its outcome is known";
        to.register("produce_duration_seconds", help, produce_duration.clone());
        let mut bytes = |name: &str, help: &str| {
            let gauge = Gauge::default();
            to.register_with_unit(name, help, Unit::Bytes, gauge.clone());
            gauge
        };
        let cache_bytes = bytes("cache_size", "Size of the cache");
        let body_bytes = bytes("http_body_budget_taken", "What bodies take of their budget");
        let body_limit = bytes("http_body_budget_limit", "What bodies may take together");
        let open = "Open connections to the public API";
        let misses = "Orders that were requested and not in the cache";
        let live = "1 while everything that the log held three seconds ago has been read";
        let lag = "Records between the follower and the end of the log";
        let errors = "Orders that the log did not acknowledge, by kind of error";
        let lookups = "Lookups that a GET needed, by what became of them";
        let metrics = Metrics {
            produce_duration,
            produce_errors: register(to, "produce_errors", errors),
            lookups: register(to, "lookups", lookups),
            requests: register(to, "http_requests", "Requests answered by the public API"),
            durations,
            connections: register(to, "http_connections", open),
            body_bytes,
            body_limit,
            cache_hits: register(to, "cache_hits", "Orders served from the cache"),
            cache_misses: register(to, "cache_misses", misses),
            lookups_sent: register(to, "lookups_sent", "Lookups sent to the log"),
            cache_entries: register(to, "cache_entries", "Orders in the cache"),
            cache_bytes,
            lookups_pending: register(to, "lookups_pending", "Lookups without a reply"),
            follower_live: register(to, "follower_live", live),
            follower_lag: register(to, "follower_lag_records", lag),
            registry,
        };
        for (route, method, status) in expected {
            let answered = Answered {
                route,
                method: method_label(method),
                status: *status,
            };
            metrics.requests.get_or_create(&answered).inc_by(0);
            drop(metrics.durations.get_or_create(&Route { route }));
        }
        for kind in PRODUCE_ERRORS {
            metrics
                .produce_errors
                .get_or_create(&Kind { kind })
                .inc_by(0);
        }
        for result in LookupResult::ALL {
            metrics.lookups.get_or_create(&result.label()).inc_by(0);
        }
        metrics
    }

    /// A request was answered.
    pub fn answered(&self, route: &'static str, method: &Method, status: u16, took: Duration) {
        let method = method_label(method);
        self.requests
            .get_or_create(&Answered {
                route,
                method,
                status,
            })
            .inc();
        self.durations
            .get_or_create(&Route { route })
            .observe_duration(took);
    }

    /// The outcome of an order that was sent to the log is known.
    pub fn produced(&self, appended: &Result<Appended, AppendError>, took: Duration) {
        self.produce_duration.observe_duration(took);
        let Err(error) = appended else {
            return;
        };
        let kind = match error {
            AppendError::NotAccepted(_) | AppendError::Timestamp(_) => "not_accepted",
            AppendError::NoTopic(_) => "no_topic",
            AppendError::TooLarge(_) => "too_large",
            AppendError::Full(_) => "full",
            AppendError::Unknown(_) => "unknown",
        };
        self.produce_errors.get_or_create(&Kind { kind }).inc();
    }

    /// A lookup that a GET waited for has ended.
    pub fn looked_up(&self, result: LookupResult) {
        self.lookups.get_or_create(&result.label()).inc();
    }

    /// Everything in the text format of OpenMetrics, without the line that ends it.
    pub fn text(
        &self,
        read_model: &ReadModel,
        connections: &Connections,
        bodies: &BodyBudget,
    ) -> String {
        self.connections.set(connections.open() as i64);
        self.body_bytes.set(bodies.taken() as i64);
        self.body_limit.set(bodies.limit() as i64);
        self.cache_entries.set(read_model.cache.entries() as i64);
        self.cache_bytes.set(read_model.cache.bytes() as i64);
        self.lookups_pending
            .set(read_model.lookups.pending() as i64);
        for progress in [&read_model.orders, &read_model.replies] {
            self.set_follower(progress);
        }
        encode(&self.registry)
    }

    fn set_follower(&self, progress: &FollowerProgress) {
        let topic = Topic {
            topic: progress.topic.clone(),
        };
        let live = progress.is_live(Instant::now());
        self.follower_live.get_or_create(&topic).set(live.into());
        self.follower_lag.get_or_create(&topic).set(progress.lag());
    }
}
