//! The metrics of the API, by prometheus-client.
//!
//! Owns the names and labels. Counting costs a hash of two words and a few atomic adds a request; the
//! state of connections, cache, lookups and followers is read when the metrics are requested.

use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::body_budget::BodyBudget;
use super::follower_progress::FollowerProgress;
use super::read_model::ReadModel;
use crate::admin::metrics::{encode, register};
use crate::http_server::Connections;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
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

/// From 0.1 ms to about 13 s: two broker round trips are 1 ms, the handler's deadline is 7 s.
fn durations() -> Histogram {
    Histogram::new([
        0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
        2.5, 5.0, 7.5, 10.0,
    ])
}

impl Metrics {
    /// `connections_cut` is counted by the connection loop, `bodies_refused` by the body budget.
    pub fn new(connections_cut: Counter, bodies_refused: Counter) -> Metrics {
        let mut registry = Registry::with_prefix("orders");
        let to = &mut registry;
        let help = "Time from a request's head to its response";
        let durations: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(durations);
        let (name, seconds) = ("http_request_duration", Unit::Seconds);
        to.register_with_unit(name, help, seconds, durations.clone());
        let help = "Connections cut because their client was too slow";
        to.register("http_connections_cut", help, connections_cut);
        let help = "Requests refused because their client had its share of the body budget";
        to.register("http_bodies_refused", help, bodies_refused);
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
        Metrics {
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
            follower_lag: register(to, "follower_lag", lag),
            registry,
        }
    }

    /// A request was answered.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.requests
            .get_or_create(&Answered { route, status })
            .inc();
        self.durations
            .get_or_create(&Route { route })
            .observe(took.as_secs_f64());
    }

    /// Everything in the text format of OpenMetrics.
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
