//! The event log in a folder: the embedded engine, with nothing to install.
//!
//! Owns which topics a process uses and what their troubles mean to its callers; the parts live in
//! `sqlite/`: `tables` (records as they lie in the file), `queue`, `writer`, `commit` and `failed`
//! (append), `retention` (what keeps it from growing without end), `topic` (snapshots), `bells` (waking), `membership` and `follower` (reading),
//! `topics` (making and describing them), `taken` (how far consumers are). One file a topic, since
//! each topic is written by one process. The surprising thing: nothing is opened before it is
//! needed, and whatever is open is compared with what is at its path before each use.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
#[cfg(test)]
use rusqlite::ffi;
use rusqlite::{Connection, Error as SqlError, ErrorCode, OptionalExtension, Result as SqlResult};

use self::bells::{Bells, Watched};
use self::queue::{Queue, Queued, Taken};
use self::tables::{Counters, Head};
use self::topic::{Found, Topic};
use self::writer::Writer;
use super::*;
use crate::pipeline::time;
use crate::sqlite_file::{
    Access, Checkpoint, DiskSpace, FileError, FileErrorKind, GuardedFile, LockTimeout, OpenFile,
};

mod bells;
mod commit;
mod failed;
mod follower;
mod membership;
mod queue;
mod retention;
mod tables;
mod taken;
mod topic;
mod topics;
mod writer;

/// The largest record: what a dead letter keeps whole. A topic's `max.message.bytes` may be less.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// How long the end of a log waits for its writers.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What whoever reads is told of a topic that is another one now.
const RECREATED: &str = "the topic was deleted and created again";

/// Who else uses the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All that write and read are in this process (`orders up`).
    ThisProcess,
    /// Other processes write, too: their commits are looked for every few milliseconds.
    OtherProcesses,
}

/// A folder of topic files as an event log; shared by all threads of a process.
pub struct SqliteLog {
    folder: Arc<Folder>,
}

/// What a log's readers and writers share.
struct Folder {
    path: PathBuf,
    reach: Reach,
    topics: RwLock<BTreeMap<String, Arc<Topic>>>,
    is_watching: Mutex<bool>,
}

impl Folder {
    /// The topic of that name, whether it is there or not.
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
    /// The log in `folder`, which need not be there: `create_topics` makes it. Touches nothing.
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
    /// Waits until all that was appended is answered; the writers end by themselves.
    fn drop(&mut self) {
        for topic in self.folder.topics() {
            if let Some(queue) = topic.queue_in_use() {
                queue.close();
            }
        }
        self.flush_until(Instant::now() + END_WITHIN);
    }
}

impl EventLog for SqliteLog {
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError> {
        let (waiting, ack) = Ack::pair();
        let queued = Queued {
            durability,
            timestamp_ms: now_ms(),
            key: record.key.into(),
            value: record.value.map(Box::from),
            headers: tables::packed(record.headers),
            waiting,
        };
        if queued.size() > MAX_RECORD_BYTES {
            return Err(AppendError::TooLarge(format!(
                "it has {} bytes, and a record at most {MAX_RECORD_BYTES}",
                queued.size()
            )));
        }
        let topic = self.folder.topic(record.topic);
        if durability == Durability::Durable
            && let Some(lack) = topic.file.shortage()
        {
            return Err(AppendError::Full(lack));
        }
        let queue = topic.queue().map_err(|error| {
            let name = record.topic;
            let reason = format!("no thread can be started to write topic `{name}`: {error}");
            AppendError::NotAccepted(reason)
        })?;
        queue.push(queued)?;
        Ok(ack)
    }

    fn warm_up(&self, _: Durability) -> Result<(), LogError> {
        let names = self.folder.topic_names()?;
        if names.is_empty() {
            let folder = self.folder.path.display();
            return Err(LogError::NotFound(format!(
                "there are no topics in `{folder}`: run `orders create-topics`"
            )));
        }
        for name in names {
            // As its writer will: better told now than to the first order.
            let topic = self.folder.topic(&name);
            let opened = topic.open(Access::Write);
            opened.map_err(|trouble| topic.error("open", &trouble))?;
            self.topic_id(&name)?;
        }
        Ok(())
    }

    fn flush(&self, within: Duration) {
        let left = self.flush_until(Instant::now() + within);
        if left > 0 {
            tracing::warn!("{left} records were not acknowledged before the end");
        }
    }

    fn warning(&self) -> Option<String> {
        let topics = self.folder.topics();
        topics.iter().find_map(|topic| topic.file.warning())
    }

    fn topic(&self, topic: &str) -> Result<TopicState, LogError> {
        let topic = self.folder.topic(topic);
        let asked = topic.counters();
        let (topic_id, counters) = asked.map_err(|trouble| topic.error("look at", &trouble))?;
        Ok(TopicState {
            log_id: self.folder.log_id(&topic.name)?,
            topic_id,
            highs: counters.iter().map(|counters| counters.next).collect(),
        })
    }

    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError> {
        let topic = self.folder.topic(topic);
        let identity = topic.identity();
        identity.map_err(|trouble| topic.error("identify", &trouble))
    }

    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError> {
        let topic = self.folder.topic(topic);
        let asked = topic.counters();
        let (_, counters) = asked.map_err(|trouble| topic.error("look at", &trouble))?;
        let at = usize::try_from(partition).ok();
        let range = at.and_then(|at| topics::ranges(&counters).get(at).copied());
        range.ok_or_else(|| topic.has_no(partition))
    }

    fn read_from(&self, topic: &str, partition: i32, offset: i64) -> Result<ReadBack, LogError> {
        let topic = self.folder.topic(topic);
        let failed = |trouble: FileError| topic.error("read", &trouble);
        let (topic_id, counters) = topic.counters().map_err(failed)?;
        let at = usize::try_from(partition).ok();
        let is_gone = |why: String| {
            LogError::NotFound(format!("could not read topic `{}`: {why}", topic.name))
        };
        let Some(counters) = at.and_then(|at| counters.get(at)) else {
            return Err(topic.has_no(partition));
        };
        let offset = offset.max(counters.low);
        if offset >= counters.next {
            return Ok(ReadBack::End(counters.next));
        }
        let found = topic.records(
            &topic_id,
            PartitionOffset::new(partition, offset),
            1,
            usize::MAX,
        );
        match found.map_err(failed)? {
            Found::Records(mut records) => Ok(records
                .pop()
                .map_or(ReadBack::End(counters.next), ReadBack::Record)),
            Found::Elsewhere(why) => Err(is_gone(why)),
        }
    }

    fn join(&self, _group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError> {
        let member = membership::SqliteMembership::join(&self.folder, topic);
        Ok(Box::new(member))
    }

    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        gather: Duration,
    ) -> Result<Box<dyn Follower>, LogError> {
        let follower = follower::SqliteFollower::open(&self.folder, topic, starts, gather)?;
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

    fn create_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        self.folder.make_topics(wanted)
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.folder.grow_topic(topic, partitions)
    }
}

/// The time of day, in milliseconds since the epoch.
fn now_ms() -> i64 {
    time::now_us() / 1_000
}
