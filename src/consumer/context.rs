//! What all threads of the consumer share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::acquire::AcceptedGap;
use super::clock;
use super::notify::Notify;
use super::observed::Observed;
use super::progress::Progress;
use super::status::{RECORDS, Status};
use crate::config::Topics;
use crate::event_log::{EventLog, LogError};
use crate::pipeline::TopicId;
use crate::process_name;
use crate::shutdown::Shutdown;
use crate::store::StoreEngine;
use crate::sync::lock;

/// The largest batch; larger ones are not faster.
const MAX_RECORDS: usize = 1_000;

/// The settings of `orders consume`.
#[derive(Clone, Debug)]
pub struct Settings {
    pub topics: Topics,
    pub group: String,
    pub lookup_group: String,
    pub accepted_gaps: Vec<AcceptedGap>,
}

pub struct Context {
    pub settings: Settings,
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn StoreEngine>,
    pub status: Arc<Status>,
    pub shutdown: Shutdown,
    /// `host:pid`, for the positions.
    pub host: String,
    pub observed: Observed,
    pub progress: Progress,
    /// Notified after each commit, for lookups that wait for one, and when lookups arrive.
    pub lookups_ready: Notify,
    /// The next offset of each partition, to be reported to the group.
    applied: Mutex<BTreeMap<i32, i64>>,
    past_end_since: Mutex<HashMap<i32, Instant>>,
    /// Whether any record came since the log's client was made.
    delivered: AtomicBool,
    /// How many records a batch may hold: halved when a batch took the database too long.
    batch_limit: AtomicUsize,
    /// A corrupt batch was met and nothing has been committed since.
    corrupt: AtomicBool,
}

impl Context {
    pub fn new(
        settings: Settings,
        log: Arc<dyn EventLog>,
        store: Arc<dyn StoreEngine>,
        status: Arc<Status>,
        shutdown: Shutdown,
    ) -> Context {
        Context {
            settings,
            log,
            store,
            status,
            shutdown,
            host: process_name::host_and_pid(),
            observed: Observed::default(),
            progress: Progress::default(),
            lookups_ready: Notify::default(),
            applied: Mutex::default(),
            past_end_since: Mutex::default(),
            delivered: AtomicBool::new(false),
            batch_limit: AtomicUsize::new(MAX_RECORDS),
            corrupt: AtomicBool::new(false),
        }
    }

    /// Everything of the partition below that offset is committed.
    pub fn set_applied(&self, partition: i32, next_offset: i64) {
        lock(&self.applied).insert(partition, next_offset);
        self.lookups_ready.notify();
    }

    /// The next offset of each partition.
    pub fn applied(&self) -> BTreeMap<i32, i64> {
        lock(&self.applied).clone()
    }

    /// The identity of the orders topic that records read just now come from.
    pub fn topic_id(&self) -> Result<TopicId, LogError> {
        let topic = &self.settings.topics.orders;
        self.observed.topic_id(|| self.log.topic_id(topic))
    }

    pub fn set_corrupt(&self, reason: &str) {
        self.corrupt.store(true, Ordering::Relaxed);
        let detail = format!("a batch is corrupt, not reading past it: {reason}");
        self.status.unhealthy(RECORDS, detail);
    }

    /// Records were committed: what was corrupt has been repaired.
    pub fn clear_corrupt(&self) {
        if self.corrupt.swap(false, Ordering::Relaxed) {
            self.status.healthy(RECORDS, "reading");
        }
    }

    pub fn batch_limit(&self) -> usize {
        self.batch_limit.load(Ordering::Relaxed)
    }

    /// A batch was not done in time: the next ones must be smaller, or nothing would ever move.
    pub fn shrink_batches(&self) {
        let smaller = (self.batch_limit() / 2).max(1);
        self.batch_limit.store(smaller, Ordering::Relaxed);
    }

    pub fn grow_batches(&self) {
        let larger = (self.batch_limit() * 2).min(MAX_RECORDS);
        self.batch_limit.store(larger, Ordering::Relaxed);
    }

    pub fn set_delivered(&self) {
        self.delivered.store(true, Ordering::Relaxed);
    }

    /// Whether any record came since the last call.
    pub fn take_delivered(&self) -> bool {
        self.delivered.swap(false, Ordering::Relaxed)
    }

    /// For how long the partition's position has been past the log's end, across acquisitions.
    pub fn past_end_for(&self, partition: i32, is_past_end: bool) -> Duration {
        let mut since = lock(&self.past_end_since);
        if is_past_end {
            clock::now() - *since.entry(partition).or_insert_with(clock::now)
        } else {
            since.remove(&partition);
            Duration::ZERO
        }
    }

    /// The group assigned other partitions: how long their positions were past the end is unknown.
    pub fn clear_past_end(&self) {
        lock(&self.past_end_since).clear();
    }
}
