//! The event log in a folder of SQLite files: the embedded engine. No other software is required.
//!
//! Owns which topics a process uses and what their errors mean to callers; the parts live in
//! `sqlite/`: `tables` (records as rows), `queue`, `writer`, `appender` and `append_failure` (append),
//! `retention` (what is deleted), `topic` (snapshots), `notify` (waking readers), `membership` and
//! `follower` (reading), `topics` (creating and describing them), `consumer_positions` (how far
//! consumers are). One file per topic, since each topic is written by one process. A file is opened
//! when it is first needed, and compared with what is at its path before each use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use self::follower::SqliteFollower;
use self::membership::SqliteMembership;
use self::queue::QueuedRecord;
use self::tables::Counters;
use self::topic::{ReadError, Topic};
use super::{
    Ack, AppendError, Durability, EventLog, Follower, LogError, Membership, NewRecord, OffsetRange,
    ReadBack, TopicAdmin, TopicDescription, TopicSpec, TopicState,
};
use crate::pipeline::{PartitionOffset, TopicId, time};
use crate::sqlite_file::{Access, FileError};

mod append_failure;
mod appender;
mod consumer_positions;
mod follower;
mod membership;
mod notify;
mod queue;
mod retention;
mod tables;
mod topic;
mod topics;
mod writer;

/// The largest record, which a dead letter still keeps whole. A topic's `max.message.bytes` may be less.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// How long a log that is dropped waits for its writers.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which processes use the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This one alone (`orders up`).
    ThisProcess,
    /// Others too: their commits are looked for every few milliseconds.
    OtherProcesses,
}

/// A folder of topic files as an event log; shared by all threads of a process.
pub struct SqliteLog {
    folder: Arc<Folder>,
}

/// What readers and writers of a log share.
struct Folder {
    path: PathBuf,
    reach: Reach,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    is_watching: Mutex<bool>,
}

impl Folder {
    /// The topic of that name, whether it exists or not.
    fn topic(&self, name: &str) -> Arc<Topic> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = known.get(name) {
            return topic.clone();
        }
        drop(known);
        let mut known = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Topic::new(&self.path, name));
        known.entry(name.into()).or_insert_with(new).clone()
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        known.values().cloned().collect()
    }

    fn is_watching(&self) -> MutexGuard<'_, bool> {
        self.is_watching
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteLog {
    /// The log in `folder`, which need not exist: `create_topics` creates it. Touches nothing.
    pub fn open(folder: &Path, reach: Reach) -> SqliteLog {
        SqliteLog {
            folder: Arc::new(Folder {
                path: folder.into(),
                reach,
                topics: RwLock::default(),
                is_watching: Mutex::default(),
            }),
        }
    }

    fn flush_until(&self, until: Instant) -> usize {
        let topics = self.folder.topics();
        let queues = topics.iter().filter_map(|topic| topic.queue_in_use());
        queues.map(|queue| queue.flush(until)).sum()
    }
}

impl Drop for SqliteLog {
    /// Waits until everything appended is acknowledged or failed; the writers end by themselves.
    fn drop(&mut self) {
        for topic in self.folder.topics() {
            if let Some(queue) = topic.queue_in_use() {
                queue.close();
            }
        }
        self.flush_until(Instant::now() + CLOSE_TIMEOUT);
    }
}

impl EventLog for SqliteLog {
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError> {
        let (sender, ack) = Ack::pair();
        let queued = QueuedRecord {
            durability,
            timestamp_ms: now_ms(),
            key: record.key.into(),
            value: record.value.map(Box::from),
            headers: tables::encode_headers(record.headers),
            ack: sender,
        };
        if queued.size() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLarge(format!(
                "it has {} bytes, and a record at most {MAX_RECORD_BYTES}",
                queued.size()
            )));
        }
        let topic = self.folder.topic(record.topic);
        if durability == Durability::Durable
            && let Some(shortage) = topic.file.warnings.shortage()
        {
            return Err(AppendError::Full(shortage));
        }
        let queue = topic.queue().map_err(|error| {
            let name = record.topic;
            let reason = format!("no thread can be started to write topic `{name}`: {error}");
            AppendError::NotAccepted(reason)
        })?;
        queue.push(queued)?;
        Ok(ack)
    }

    fn warm_up(&self, _: &Handle) -> Result<(), LogError> {
        let names = self.folder.topic_names()?;
        if names.is_empty() {
            let folder = self.folder.path.display();
            return Err(LogError::NotFound(format!(
                "there are no topics in `{folder}`: run `orders create-topics`"
            )));
        }
        for name in names {
            // As its writer will: better reported now than to the first order.
            let topic = self.folder.topic(&name);
            let opened = topic.open(Access::Write);
            opened.map_err(|error| topic.error("open", &error))?;
            self.topic_id(&name)?;
        }
        Ok(())
    }

    fn flush(&self, timeout: Duration) {
        let left = self.flush_until(Instant::now() + timeout);
        if left > 0 {
            tracing::warn!("{left} records were not acknowledged in time");
        }
    }

    fn warning(&self) -> Option<String> {
        let topics = self.folder.topics();
        topics.iter().find_map(|topic| topic.file.warnings.first())
    }

    fn topic(&self, topic: &str) -> Result<TopicState, LogError> {
        let topic = self.folder.topic(topic);
        let read = topic.counters();
        let (topic_id, counters) = read.map_err(|error| topic.error("read", &error))?;
        Ok(TopicState {
            log_id: self.folder.log_id(&topic.name)?,
            topic_id,
            highs: counters.iter().map(|counters| counters.next).collect(),
        })
    }

    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError> {
        let topic = self.folder.topic(topic);
        let read = topic.topic_id();
        read.map_err(|error| topic.error("identify", &error))
    }

    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        let topic = self.folder.topic(topic);
        let read = topic.counters();
        let (_, counters) = read.map_err(|error| topic.error("read", &error))?;
        let at = usize::try_from(partition).ok();
        let counters = at.and_then(|at| counters.get(at));
        let range = counters.map(Counters::range);
        range.ok_or_else(|| topic.has_no(partition))
    }

    fn read_from(&self, topic: &str, start: PartitionOffset) -> Result<ReadBack, LogError> {
        let topic = self.folder.topic(topic);
        let failed = |error: FileError| topic.error("read", &error);
        let (topic_id, counters) = topic.counters().map_err(failed)?;
        let at = usize::try_from(start.partition).ok();
        let Some(counters) = at.and_then(|at| counters.get(at)) else {
            return Err(topic.has_no(start.partition));
        };
        let offset = start.offset.max(counters.low);
        if offset >= counters.next {
            return Ok(ReadBack::End(counters.next));
        }
        let from = PartitionOffset::new(start.partition, offset);
        match topic.records(&topic_id, from, 1, usize::MAX) {
            Ok(mut records) => Ok(records
                .pop()
                .map_or(ReadBack::End(counters.next), ReadBack::Record)),
            Err(ReadError::File(error)) => Err(failed(error)),
            Err(ReadError::Gone(reason)) => {
                let name = &topic.name;
                let message = format!("could not read topic `{name}`: {reason}");
                Err(LogError::NotFound(message))
            }
        }
    }

    fn join(&self, _group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        Ok(Box::new(SqliteMembership::join(&self.folder, topic)))
    }

    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        max_delay: Duration,
    ) -> Result<Box<dyn Follower>, LogError> {
        let follower = SqliteFollower::open(&self.folder, topic, starts, max_delay)?;
        Ok(Box::new(follower))
    }
}

impl TopicAdmin for SqliteLog {
    fn brokers(&self) -> Result<usize, LogError> {
        Ok(1)
    }

    fn describe(&self, names: Option<&[&str]>) -> Result<Vec<TopicDescription>, LogError> {
        self.folder.describe_topics(names)
    }

    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.folder.create_topics(specs)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.folder.grow_topic(topic, partitions)
    }
}

/// The time of day, in milliseconds since the epoch.
fn now_ms() -> i64 {
    time::now_us() / 1_000
}
