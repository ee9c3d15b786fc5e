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
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::follower::SqliteFollower;
use self::membership::SqliteMembership;
use self::queue::QueuedRecord;
use self::topic::Topic;
use super::{
    Ack, AppendError, Committed, Durability, EventLog, Follower, LogError, Membership, NewRecord,
    OffsetRange, ReadBack, TopicState,
};
use crate::pipeline::{PartitionOffset, TopicId, time};
use crate::sqlite_file::{Access, FileError, Warning};
use crate::sync::lock;

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
    /// Others too: the file is checked for their commits every few milliseconds.
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
    topics: Mutex<BTreeMap<String, Arc<Topic>>>,
    is_watching: Mutex<bool>,
}

impl Folder {
    /// The topic of that name, whether it exists or not.
    fn topic(&self, name: &str) -> Arc<Topic> {
        let mut known = lock(&self.topics);
        if let Some(topic) = known.get(name) {
            return topic.clone();
        }
        let topic = Arc::new(Topic::new(&self.path, name));
        known.insert(name.into(), topic.clone());
        topic
    }

    fn topics(&self) -> Vec<Arc<Topic>> {
        lock(&self.topics).values().cloned().collect()
    }
}

impl SqliteLog {
    /// The log in `folder`, which need not exist: `create_topics` creates it. Touches nothing.
    pub fn open(folder: &Path, reach: Reach) -> SqliteLog {
        SqliteLog {
            folder: Arc::new(Folder {
                path: folder.into(),
                reach,
                topics: Mutex::default(),
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
    /// Waits until everything appended is acknowledged or has failed; then the writers end.
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
            && let Some(shortage) = topic.file.warnings.get(Warning::Shortage)
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

    fn warm_up(&self) -> Result<(), LogError> {
        let names = self.folder.topic_names()?;
        if names.is_empty() {
            let folder = self.folder.path.display();
            return Err(LogError::NotFound(format!(
                "there are no topics in `{folder}`: run `orders create-topics`"
            )));
        }
        for name in names {
            // As its writer will, so that an error is reported now and not to the first order.
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
        topic.read_partition(partition, |_, counters| Ok(counters.range()))
    }

    fn offsets_since(&self, topic: &str, since_ms: i64) -> Result<Vec<i64>, LogError> {
        let topic = self.folder.topic(topic);
        let read =
            topic.read(|open| open.run(|connection| tables::offsets_since(connection, since_ms)));
        read.map_err(|error: FileError| topic.error("read", &error))
    }

    fn read_from(&self, topic: &str, start: PartitionOffset) -> Result<ReadBack, LogError> {
        let topic = self.folder.topic(topic);
        let partition = start.partition;
        topic.read_partition(partition, |open, counters| {
            let mut found = ReadBack::End(counters.next);
            let from = start.offset.max(counters.low);
            if from < counters.next {
                tables::records(open, partition, (from, from + 1), usize::MAX, |row| {
                    found = ReadBack::Record(row.record(partition)?);
                    Some(())
                })?;
            }
            Ok(found)
        })
    }

    /// There is one consumer for the folder, whatever its group is called.
    fn committed(&self, _group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>, LogError> {
        let topic_id = self.topic_id(topic)?;
        let positions = consumer_positions::read(&self.folder.path, &topic_id);
        let committed = |offset| Committed {
            offset,
            is_reported: true,
        };
        let positions = positions.into_iter();
        Ok(positions
            .map(|(partition, offset)| (partition, committed(offset)))
            .collect())
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

/// The time of day, in milliseconds since the epoch.
fn now_ms() -> i64 {
    time::now_us() / 1_000
}
