//! The event log: the traits that each engine (Kafka, SQLite) implements, and their values.
//!
//! Knows nothing of orders, stores or HTTP. Everything is synchronous and blocks for at most the
//! stated time, except [`Ack`], which threads and async tasks can both await.
//!
//! # Invariants
//!
//! Group offsets are committed for tools and never decide where reading starts: that is the position
//! in the store (`log_positions`).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::pipeline::{PartitionOffset, Record, TopicId};

mod consumer_groups;
mod first_timestamp;
pub mod kafka;
pub mod sqlite;
mod topic_admin;

pub use consumer_groups::ConsumerGroups;
pub use first_timestamp::first_timestamp;
pub use topic_admin::{TopicAdmin, TopicDescription, TopicSpec};

/// A record to append. The partition follows from the key, as go-orders' producer chooses it.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    pub topic: &'a str,
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// How much a lost record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged only when the log would keep it through a crash, and written once (orders).
    Durable,
    /// May be lost in a crash; the caller sends it again (lookups and their replies).
    BestEffort,
}

/// Where an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub partition: i32,
    /// `None` when the log has the record but did not report the offset (a recognised duplicate).
    pub offset: Option<i64>,
}

/// Why an append was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record never left this process and never will: sending it again cannot double it.
    #[error("the record was not accepted: {0}")]
    NotAccepted(String),
    /// The log refuses the record's timestamp: a clock is wrong. The record is not in the log and never
    /// will be.
    #[error("the log refuses the record's timestamp: {0}")]
    Timestamp(String),
    /// The log has no such topic; the record is not in the log and never will be.
    #[error("the log has no topic for the record: {0}")]
    NoTopic(String),
    /// The record is larger than the log accepts; it never left this process.
    #[error("the record is larger than the log accepts: {0}")]
    TooLarge(String),
    /// The log's disk is full, or nearly so; the record is not in the log and never will be.
    #[error("the log has no disk space for the record: {0}")]
    Full(String),
    /// The log may or may not have the record: sending it again is safe, the newest version wins.
    #[error("the log did not acknowledge the record: {0}")]
    Unknown(String),
}

/// The future acknowledgement of one appended record. Dropping it changes nothing about the record.
pub struct Ack(oneshot::Receiver<Result<Appended, AppendError>>);

/// The engine's half of an [`Ack`].
pub type AckSender = oneshot::Sender<Result<Appended, AppendError>>;

impl Ack {
    /// A connected pair: the engine keeps the sender, the caller receives the `Ack`.
    pub fn pair() -> (AckSender, Ack) {
        let (sender, receiver) = oneshot::channel();
        (sender, Ack(receiver))
    }

    /// Blocks until the outcome is known, at most for the engine's delivery timeout.
    ///
    /// # Panics
    ///
    /// Panics on an async thread.
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }
}

impl Future for Ack {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or_else(|_| Err(closed())))
    }
}

fn closed() -> AppendError {
    AppendError::Unknown("the log's client was closed before the outcome was known".into())
}

/// Why a call to the log failed; what the caller does follows from the kind alone. Each message
/// states what was attempted and the client's own reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The log is unreachable or not ready: wait and retry.
    #[error("{0}")]
    Unavailable(String),
    /// The topic, partition or offset does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The log refuses the call, or its data cannot be read: retrying is useless until an operator
    /// has repaired it.
    #[error("{0}")]
    Refused(String),
}

impl LogError {
    /// Whether waiting and retrying can help.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, LogError::Unavailable(_))
    }
}

/// Identity and ends of a topic at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// As in `log_positions.log_id`: the id of the Kafka cluster or of the folder, and the topic.
    pub log_id: String,
    pub topic_id: TopicId,
    /// `highs[p]` is the next offset to be written to partition `p`.
    pub highs: Vec<i64>,
}

/// The offsets that a partition holds: `low` is the first that can still be read, `high` the next to
/// be written (uncommitted transactions included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    pub low: i64,
    pub high: i64,
}

/// An offset that a group has committed for a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    /// Whether it came by [`Membership::applied`], and not from another program.
    pub is_reported: bool,
}

/// What [`EventLog::read_from`] found.
#[derive(Clone, Debug)]
pub enum ReadBack {
    /// The first committed record at or after the offset.
    Record(Record),
    /// There is no committed record between the offset and this one, the end of the partition.
    End(i64),
}

/// The log, shared by all threads of a process. Opening one connects nothing: a service can start
/// while its log is unreachable.
pub trait EventLog: Send + Sync {
    /// Queues a record in the log's client. Never blocks: a full queue is
    /// [`AppendError::NotAccepted`]. The record is in the log when the [`Ack`] is `Ok`.
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError>;

    /// Connects what [`EventLog::append`] needs, so that the first order does not wait for it. Blocks
    /// up to 15 s.
    fn warm_up(&self) -> Result<(), LogError>;

    /// Waits until everything appended is acknowledged or has failed, at most `timeout`.
    fn flush(&self, timeout: Duration);

    /// What operators should know although the log works, such as a disk that is nearly full. Never
    /// blocks.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Identity and ends of a topic. Every record acknowledged before the call is below the ends.
    /// Blocks up to 5 s; one round trip, well under a millisecond, on a warm client.
    fn topic(&self, topic: &str) -> Result<TopicState, LogError>;

    /// The topic id alone, which any broker knows: unlike [`EventLog::topic`] this does not fail
    /// while a partition has no leader, so records of the other partitions can still be stored.
    /// Blocks up to 5 s; a fifth of a millisecond on a warm client.
    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError>;

    /// The offsets that one partition holds. Blocks up to 15 s.
    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError>;

    /// For each partition, the offset of its first record at or after this time (milliseconds since
    /// the epoch, as the log stamped the records), or its end. Blocks up to 15 s.
    fn offsets_since(&self, topic: &str, since_ms: i64) -> Result<Vec<i64>, LogError>;

    /// Reads the first committed record at or after `start` by a fresh client. A corrupt batch is an
    /// error, never skipped. Blocks up to 10 s.
    fn read_from(&self, topic: &str, start: PartitionOffset) -> Result<ReadBack, LogError>;

    /// The offsets that a group has committed for a topic, by partition: those of
    /// [`Membership::applied`], or others that a tool has set. Blocks up to 10 s.
    fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, Committed>, LogError>;

    /// Joins a consumer group on one topic.
    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError>;

    /// Reads a topic without a group from explicit offsets, one start a partition. A record may come
    /// up to `max_delay` late, together with others: that is cheaper for both sides.
    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        max_delay: Duration,
    ) -> Result<Box<dyn Follower>, LogError>;
}

/// An event of a membership.
#[derive(Clone, Debug)]
pub enum MembershipEvent {
    /// The group assigned these partitions to this member; nothing is read before
    /// [`Membership::assign`].
    Assigned(Vec<i32>),
    /// The group revoked all partitions; nothing more is delivered.
    Revoked,
    Fault(LogFault),
}

/// An error event of a reading client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// Brokers are unreachable or slow; the client retries for ever.
    #[error("{0}")]
    Transient(String),
    /// The offset is not in the log, the topic was deleted, or a record was delivered out of order:
    /// decide again where to read.
    #[error("{0}")]
    Reset(String),
    /// A batch failed its checksum or cannot be decoded: the client has moved past it, so nothing
    /// may be read on from here.
    #[error("{0}")]
    Corrupt(String),
    /// The client has failed for good; open another.
    #[error("{0}")]
    Fatal(String),
}

/// Membership of a consumer group; stays on one thread, which must poll it every few seconds (after
/// 60 s the group revokes its partitions).
pub trait Membership {
    /// Blocks up to `wait` for the next event.
    fn poll(&mut self, wait: Duration) -> Option<MembershipEvent>;

    /// Reads exactly these partitions from exactly these offsets, from now on; replaces every earlier
    /// assignment. Returns one reader a partition, in the order of `starts`. Must be called after
    /// every [`MembershipEvent::Assigned`], without any start where nothing is to be read: the group
    /// waits for it.
    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<Vec<Box<dyn Reader>>, LogError>;

    /// Commits group offsets for lag monitoring tools: sent asynchronously, may be lost.
    fn applied(&self, positions: &[PartitionOffset]);
}

/// What a reader returns.
#[derive(Debug)]
pub enum Fetched {
    /// One or more records in offset order; there may be gaps between them.
    Records(Vec<Record>),
    /// Nothing within the wait.
    Nothing,
    /// The end of the partition was reached (returned once for each end).
    End,
    Fault(LogFault),
}

/// Reads one partition, on the thread that stores its records.
pub trait Reader: Send {
    fn partition(&self) -> i32;

    /// The records that are ready, up to `max_records` or `max_bytes` (at least one record). Blocks up
    /// to `wait` for the first and not at all for the rest.
    fn next(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Fetched;

    /// Calls `notify`, from a thread of the engine, whenever records become ready.
    fn on_ready(&mut self, notify: Box<dyn Fn() + Send + Sync>);
}

/// Whether the caller already has a record, by its offset and key.
pub type Knows<'a> = dyn Fn(PartitionOffset, &[u8]) -> bool + 'a;

/// What a follower returns.
#[derive(Debug)]
pub enum Followed {
    Record(Record),
    /// A record that the caller has.
    Known(PartitionOffset),
    /// The end of this partition was reached.
    End(i32),
    Fault(LogFault),
}

/// A reader of a whole topic that belongs to no group.
pub trait Follower: Send {
    /// Blocks up to `wait` for the next record or event. A record for which `knows` returns true is
    /// not copied out of the client.
    fn next(&mut self, wait: Duration, knows: &Knows<'_>) -> Option<Followed>;

    /// Reads these partitions from these offsets from now on.
    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError>;
}
