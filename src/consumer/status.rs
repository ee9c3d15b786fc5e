//! The consumer's health and metrics, for the operators' port.
//!
//! Health is a list of named conditions; a change of one is logged, once. Counters are plain atomics,
//! so that they cost a lane next to nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::admin::{Check, Health};

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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    healthy: bool,
    detail: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PartitionLabel {
    partition: i32,
}

/// Shared by all threads of the consumer.
pub struct Status {
    started: Instant,
    heartbeat_ms: AtomicU64,
    conditions: Mutex<BTreeMap<String, Condition>>,
    registry: Registry,
    pub orders_applied: Counter,
    pub orders_outdated: Counter,
    pub dead_letters: Counter,
    pub batches: Counter,
    pub store_retries: Counter,
    pub partition_acquisitions: Counter,
    pub lookups_answered: Counter,
    pub lookups_dropped: Counter,
    pub records_with_foreign_key: Counter,
    lag: Family<PartitionLabel, Gauge>,
    next_offset: Family<PartitionLabel, Gauge>,
}

impl Status {
    pub fn new() -> Arc<Status> {
        let mut registry = Registry::with_prefix("orders_consumer");
        let to = &mut registry;
        let foreign_key = "Orders whose record key is not their uid";
        let outdated = "Orders not written because the store had a newer version";
        let dropped = "Lookups that were malformed, expired or too many";
        let acquisitions = "Times the assigned partitions were acquired";
        let lag = "Records of a partition that the store has not applied yet";
        let next_offset = "The offset below which the store has applied everything";
        let retries = "Calls to the store that failed and were retried";
        Arc::new(Status {
            started: Instant::now(),
            heartbeat_ms: AtomicU64::new(0),
            conditions: Mutex::new(unknown_conditions()),
            orders_applied: register(to, "orders_applied", "Orders written to the store"),
            orders_outdated: register(to, "orders_outdated", outdated),
            dead_letters: register(to, "dead_letters", "Records that became dead letters"),
            batches: register(to, "batches", "Transactions committed"),
            store_retries: register(to, "store_retries", retries),
            partition_acquisitions: register(to, "partition_acquisitions", acquisitions),
            lookups_answered: register(to, "lookups_answered", "Lookups answered"),
            lookups_dropped: register(to, "lookups_dropped", dropped),
            records_with_foreign_key: register(to, "records_with_foreign_key", foreign_key),
            lag: register(to, "lag", lag),
            next_offset: register(to, "next_offset", next_offset),
            registry,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Condition>> {
        self.conditions
            .lock()
            .expect("no thread panics while holding this lock")
    }

    /// Called by the polling thread at each turn of its loop.
    pub fn heartbeat(&self) {
        self.heartbeat_ms
            .store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub fn healthy(&self, name: &str, detail: impl Into<String>) {
        let condition = Condition {
            healthy: true,
            detail: detail.into(),
        };
        let before = self.lock().insert(name.into(), condition.clone());
        if before.is_some_and(|before| !before.healthy) {
            tracing::info!("{name}: {}", condition.detail);
        }
    }

    /// These partitions are not read yet: not ready, but nothing to log.
    pub fn acquiring(&self, partitions: &[i32]) {
        let condition = Condition {
            healthy: false,
            detail: "being acquired".into(),
        };
        let mut conditions = self.lock();
        for number in partitions {
            conditions.insert(partition(*number), condition.clone());
        }
    }

    /// Something waits for an outage to end, or for an operator.
    pub fn unhealthy(&self, name: &str, detail: impl Into<String>) {
        let condition = Condition {
            healthy: false,
            detail: detail.into(),
        };
        let before = self.lock().insert(name.into(), condition.clone());
        if before.as_ref() != Some(&condition) {
            tracing::warn!("{name}: {}", condition.detail);
        }
    }

    /// Removes partitions that this process no longer reads.
    pub fn clear_partitions(&self) {
        self.lock()
            .retain(|name, _| !name.starts_with("partition "));
        self.lag.clear();
        self.next_offset.clear();
    }

    pub fn progress(&self, partition: i32, next_offset: i64) {
        self.next_offset
            .get_or_create(&PartitionLabel { partition })
            .set(next_offset);
    }

    pub fn lag(&self, partition: i32, records: i64) {
        self.lag
            .get_or_create(&PartitionLabel { partition })
            .set(records);
    }
}

/// Creates a metric that the registry encodes.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Nothing is healthy before it has been observed.
fn unknown_conditions() -> BTreeMap<String, Condition> {
    let unknown = |name: &str| {
        let condition = Condition {
            healthy: false,
            detail: "not known yet".into(),
        };
        (name.to_owned(), condition)
    };
    [LOG, DATABASE, MIGRATIONS, LOOKUPS, PARTITIONS]
        .map(unknown)
        .into()
}

impl Health for Status {
    fn live(&self) -> Result<(), String> {
        let heartbeat = Duration::from_millis(self.heartbeat_ms.load(Ordering::Relaxed));
        let age = self.started.elapsed().saturating_sub(heartbeat);
        if age < HEARTBEAT_TIMEOUT {
            return Ok(());
        }
        Err(format!(
            "the polling thread has been stuck for {} s",
            age.as_secs()
        ))
    }

    fn ready(&self) -> Vec<Check> {
        let check = |(name, condition): (&String, &Condition)| Check {
            name: name.clone(),
            ok: condition.healthy,
            detail: condition.detail.clone(),
        };
        self.lock().iter().map(check).collect()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
