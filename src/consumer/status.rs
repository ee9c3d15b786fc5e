//! The consumer's health and metrics, for the operators' port.
//!
//! Health is a list of named conditions; a change of one is logged, once. Counters are plain atomics,
//! so that they cost a lane next to nothing.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::admin::metrics::{encode, register};
use crate::admin::{Check, Health, Heartbeat, Histogram};
use crate::store::StoreError;
use crate::sync::lock;

/// The polling thread is stuck when its last heartbeat is older.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

pub const LOG: &str = "log";
pub const DATABASE: &str = "database";
pub const MIGRATIONS: &str = "migrations";
pub const LOOKUPS: &str = "lookups";
pub const RECORDS: &str = "records";
pub const PARTITIONS: &str = "partitions";

/// The name of a partition's condition.
pub fn partition(partition: i32) -> String {
    format!("partition {partition}")
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// Of a metric that is one series, or none.
type NoLabels = [(&'static str, &'static str); 0];

/// Every kind of [`StoreError`].
const KINDS: [&str; 5] = [
    "unavailable",
    "contended",
    "rejected",
    "misconfigured",
    "fenced",
];

/// The lag of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasuredLag {
    /// The position in the store; `None` while it is not known.
    pub next_offset: Option<i64>,
    /// How many records wait to be stored; `None` while it is not known.
    pub records: Option<i64>,
    /// How long the oldest of them has waited by its timestamp; zero when none waits.
    pub oldest_waiting: Option<Duration>,
    /// How many records wait without any progress, and since when, once that is too long.
    pub stalled: Option<String>,
}

/// Shared by all threads of the consumer.
pub struct Status {
    /// When the polling thread last ran.
    pub heartbeat: Heartbeat,
    conditions: Mutex<BTreeMap<String, Check>>,
    lag: Mutex<BTreeMap<i32, MeasuredLag>>,
    registry: Registry,
    pub orders_applied: Counter,
    pub orders_outdated: Counter,
    pub dead_letters: Counter,
    /// Has no series while the number is not known.
    dead_letters_open: Family<NoLabels, Gauge>,
    pub batch_orders: Histogram,
    pub commit_duration: Histogram,
    store_errors: Family<KindLabel, Counter>,
    pub rebalances: Counter,
    pub partition_acquisitions: Counter,
    pub lookups_answered: Counter,
    pub lookups_dropped: Counter,
    pub records_with_foreign_key: Counter,
    offsets_without_record: Counter,
    lag_records: Family<PartitionLabel, Gauge>,
    oldest_waiting: Family<PartitionLabel, Gauge<f64, AtomicU64>>,
    next_offset: Family<PartitionLabel, Gauge>,
}

impl Status {
    pub fn new() -> Arc<Status> {
        let mut registry = Registry::with_prefix("orders");
        let to = &mut registry;
        let foreign_key = "Orders whose record key is not their uid";
        let markers =
            "Offsets passed without a record: transaction markers, aborted or compacted records";
        let outdated = "Orders not written because the store had a newer version";
        let open = "Dead letters that nobody has resolved, counted once a minute";
        let dropped = "Lookups that were malformed, expired or too many";
        let acquisitions = "Times the assigned partitions were acquired";
        let lag = "Records of a partition that wait to be stored; no series while it is not known";
        let oldest = "How long the oldest record of a partition that waits has waited";
        let next_offset = "The offset below which the store has applied everything";
        let errors = "Calls of the lanes to the store that failed, by kind of error";
        let rebalances = "Times the group assigned partitions to this member";
        let mut histogram = |name: &str, help: &str, histogram: Histogram| {
            to.register(name, help, histogram.clone());
            histogram
        };
        let help = "Orders in each committed batch";
        let batch_orders = histogram("batch_orders", help, Histogram::orders());
        let help = "Time of each transaction that stored a batch";
        let commit_duration = histogram("commit_duration_seconds", help, Histogram::seconds());
        let status = Status {
            heartbeat: Heartbeat::default(),
            conditions: Mutex::default(),
            lag: Mutex::default(),
            orders_applied: register(to, "applied", "Orders written to the store"),
            orders_outdated: register(to, "outdated", outdated),
            dead_letters: register(to, "dead_letters", "Records that became dead letters"),
            dead_letters_open: register(to, "dead_letters_open", open),
            batch_orders,
            commit_duration,
            store_errors: register(to, "store_errors", errors),
            rebalances: register(to, "rebalances", rebalances),
            partition_acquisitions: register(to, "consumer_partition_acquisitions", acquisitions),
            lookups_answered: register(to, "consumer_lookups_answered", "Lookups answered"),
            lookups_dropped: register(to, "consumer_lookups_dropped", dropped),
            records_with_foreign_key: register(
                to,
                "consumer_records_with_foreign_key",
                foreign_key,
            ),
            offsets_without_record: register(to, "consumer_offsets_without_record", markers),
            lag_records: register(to, "consumer_lag_records", lag),
            oldest_waiting: register(to, "consumer_oldest_waiting_seconds", oldest),
            next_offset: register(to, "consumer_next_offset", next_offset),
            registry,
        };
        for kind in KINDS {
            status
                .store_errors
                .get_or_create(&KindLabel { kind })
                .inc_by(0);
        }
        // Nothing is healthy before it has been observed.
        for name in [LOG, DATABASE, MIGRATIONS, LOOKUPS, PARTITIONS] {
            status.set(name, false, "not known yet");
        }
        Arc::new(status)
    }

    /// Returns the condition as it was.
    fn set(&self, name: &str, ok: bool, detail: &str) -> Option<Check> {
        let condition = Check {
            name: name.into(),
            ok,
            detail: detail.into(),
        };
        lock(&self.conditions).insert(name.into(), condition)
    }

    /// Offsets from `from` to `to` hold no record.
    pub fn add_hole(&self, from: i64, to: i64) {
        let offsets = u64::try_from(to - from).unwrap_or_default();
        self.offsets_without_record.inc_by(offsets);
    }

    /// Sets how many dead letters are open; `None` when that is not known.
    pub fn set_dead_letters_open(&self, open: Option<u64>) {
        match open.and_then(|open| i64::try_from(open).ok()) {
            Some(open) => {
                self.dead_letters_open.get_or_create(&[]).set(open);
            }
            None => self.dead_letters_open.clear(),
        }
    }

    /// A call to the store has failed.
    pub fn store_failed(&self, error: &StoreError) {
        let kind = match error {
            StoreError::Unavailable(_) => "unavailable",
            StoreError::Contended(_) => "contended",
            StoreError::Rejected(_) => "rejected",
            StoreError::Misconfigured(_) => "misconfigured",
            StoreError::Fenced(_) => "fenced",
        };
        self.store_errors.get_or_create(&KindLabel { kind }).inc();
    }

    pub fn healthy(&self, name: &str, detail: impl ToString) {
        let detail = detail.to_string();
        let before = self.set(name, true, &detail);
        if before.is_some_and(|before| !before.ok) {
            tracing::info!("{name}: {detail}");
        }
    }

    /// Something waits for an outage to end, or for an operator.
    pub fn unhealthy(&self, name: &str, detail: impl ToString) {
        let detail = detail.to_string();
        let before = self.set(name, false, &detail);
        if before.is_none_or(|before| before.ok || before.detail != detail) {
            tracing::warn!("{name}: {detail}");
        }
    }

    /// This partition is not read yet: not ready, but nothing to log.
    pub fn acquiring(&self, number: i32) {
        self.set(&partition(number), false, "being acquired");
    }

    /// Removes partitions that this process no longer reads.
    pub fn clear_partitions(&self) {
        lock(&self.conditions).retain(|name, _| !name.starts_with("partition "));
    }

    /// Replaces the lag of every assigned partition. A partition that stalls, and one that progresses
    /// again, is logged.
    pub fn set_lag(&self, measured: BTreeMap<i32, MeasuredLag>) {
        let mut lag = lock(&self.lag);
        for (number, now) in &measured {
            let before = lag.get(number).and_then(|before| before.stalled.as_ref());
            match (before, &now.stalled) {
                (None, Some(reason)) => tracing::warn!("{}: {reason}", partition(*number)),
                (Some(_), None) => {
                    tracing::info!("{}: its records are stored again", partition(*number));
                }
                _ => {}
            }
        }
        *lag = measured;
    }

    /// Fills the metrics of each partition.
    fn fill(&self, lag: &BTreeMap<i32, MeasuredLag>) {
        self.lag_records.clear();
        self.oldest_waiting.clear();
        self.next_offset.clear();
        for (number, lag) in lag {
            let label = PartitionLabel { partition: *number };
            if let Some(records) = lag.records {
                self.lag_records.get_or_create(&label).set(records);
            }
            if let Some(waiting) = lag.oldest_waiting {
                let seconds = waiting.as_secs_f64();
                self.oldest_waiting.get_or_create(&label).set(seconds);
            }
            if let Some(next_offset) = lag.next_offset {
                self.next_offset.get_or_create(&label).set(next_offset);
            }
        }
    }
}

impl Health for Status {
    fn live(&self) -> Result<(), String> {
        let stuck = "the polling thread has been stuck";
        self.heartbeat.check(HEARTBEAT_TIMEOUT, stuck)
    }

    fn ready(&self) -> Vec<Check> {
        let mut checks = lock(&self.conditions).clone();
        for (number, lag) in &*lock(&self.lag) {
            let Some(stalled) = &lag.stalled else {
                continue;
            };
            let name = partition(*number);
            let detail = match checks.get(&name) {
                Some(check) if !check.ok => format!("{stalled}: {}", check.detail),
                _ => stalled.clone(),
            };
            let check = Check {
                name: name.clone(),
                ok: false,
                detail,
            };
            checks.insert(name, check);
        }
        checks.into_values().collect()
    }

    fn metrics(&self) -> String {
        let lag = lock(&self.lag);
        self.fill(&lag);
        encode(&self.registry)
    }
}
