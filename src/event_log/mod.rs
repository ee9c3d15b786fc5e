//! The event log: what the pipeline needs of Apache Kafka, in its own words.
//!
//! Owns the vocabulary (records, acknowledgements, ends, memberships) and the traits that every
//! engine implements; knows nothing of orders, stores or HTTP. Everything here is synchronous and
//! blocks for at most the time it names, except [`Ack`], which threads and async tasks can both
//! await. The surprising thing: group offsets are written but never read back. Where reading starts
//! is decided by the store (`log_positions`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::pipeline::{PartitionOffset, Record, TopicId};

pub mod kafka;
pub mod sqlite;
mod topic_admin;

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
    /// May be lost in a crash; whoever asked asks again (lookups and their answers).
    BestEffort,
}

/// Where an acknowledged record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub partition: i32,
    /// `None` when the log has the record but did not say where (a duplicate that it recognised).
    pub offset: Option<i64>,
}

/// Why an append was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record never left this process and never will: sending it again cannot double it.
    #[error("the record was not accepted: {0}")]
    NotAccepted(String),
    /// The record is larger than the log takes; it never left this process.
    #[error("the record is larger than the log accepts: {0}")]
    TooLarge(String),
    /// The log's disk is full, or nearly so; the record is not in the log and never will be.
    #[error("the log has no room for the record: {0}")]
    Full(String),
    /// The log may or may not have the record: sending it again is safe, the newest version wins.
    #[error("the log did not acknowledge the record: {0}")]
    Unknown(String),
}

/// The coming acknowledgement of one appended record. Await it, or block a thread with
/// [`Ack::wait`]; dropping it changes nothing about the record.
pub struct Ack(oneshot::Receiver<Result<Appended, AppendError>>);

/// The engine's end of an [`Ack`].
pub type AckSender = oneshot::Sender<Result<Appended, AppendError>>;

impl Ack {
    /// A connected pair: the engine keeps the sender, the caller gets the `Ack`.
    pub fn pair() -> (AckSender, Ack) {
        let (sender, receiver) = oneshot::channel();
        (sender, Ack(receiver))
    }

    /// Blocks this thread until the log answered (bounded by the engine's delivery timeout). Must
    /// not be called on an async thread.
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(abandoned()))
    }
}

impl Future for Ack {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(abandoned())))
    }
}

fn abandoned() -> AppendError {
    AppendError::Unknown("the log's client was closed before it answered".into())
}

/// Why a call to the log failed; what the caller does follows from the kind alone. Each message says
/// what was attempted and the client's own reason.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The log is away or not ready: wait and retry.
    #[error("{0}")]
    Unavailable(String),
    /// The log answered: the topic, partition or offset does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The log refuses the call, or cannot read what it holds: retrying is useless until an operator
    /// has changed something.
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
    /// Names the log for `log_positions.log_id`: Kafka cluster id + topic, or the folder's id + topic.
    pub log_id: String,
    pub topic_id: TopicId,
    /// `highs[p]` is the next offset to be written to partition `p`.
    pub highs: Vec<i64>,
}

/// The offsets a partition holds: `low` is the first that can still be read, `high` the next to be
/// written (uncommitted transactions included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    pub low: i64,
    pub high: i64,
}

/// What [`EventLog::read_from`] found at or after the offset it was asked for.
#[derive(Clone, Debug)]
pub enum ReadBack {
    /// The first committed record at or after the offset.
    Record(Record),
    /// No committed record between the offset and this one, which was the end when asked.
    End(i64),
}

/// The log, shared by all threads of a process. Opening one connects nothing: a service can start
/// while its log is down.
pub trait EventLog: Send + Sync {
    /// Hands a record to the log's client and returns at once, never blocking: a full queue is
    /// [`AppendError::NotAccepted`]. The record is in the log when the [`Ack`] says so.
    fn append(&self, durability: Durability, record: NewRecord<'_>) -> Result<Ack, AppendError>;

    /// Opens what `append` needs, so that the first order does not pay for it. Blocks up to 5 s.
    fn warm_up(&self, durability: Durability) -> Result<(), LogError>;

    /// Waits until everything appended is acknowledged or failed, at most `within`.
    fn flush(&self, within: Duration);

    /// What operators should know although the log works, such as a disk that fills up. Never
    /// blocks.
    fn warning(&self) -> Option<String> {
        None
    }

    /// Identity and ends of a topic. Every record acknowledged before the call is below the ends.
    /// Blocks up to 5 s; one round trip, well under a millisecond, on a warm client.
    fn topic(&self, topic: &str) -> Result<TopicState, LogError>;

    /// The topic's id alone, which any broker knows: unlike [`EventLog::topic`] it does not fail
    /// while a partition has no leader, so the other partitions can be stored. Blocks up to 5 s; a
    /// fifth of a millisecond on a warm client.
    fn topic_id(&self, topic: &str) -> Result<TopicId, LogError>;

    /// The offsets that one partition holds. Blocks up to 10 s.
    fn range(&self, topic: &str, partition: i32) -> Result<OffsetRange, LogError>;

    /// The first committed record at or after `offset`, read by a fresh client of its own, or the
    /// end. A corrupt batch is an error, never skipped. Blocks up to 10 s.
    fn read_from(&self, topic: &str, partition: i32, offset: i64) -> Result<ReadBack, LogError>;

    /// Joins a consumer group on one topic.
    fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Membership>, LogError>;

    /// Reads a topic without a group from explicit offsets, one start a partition. A record may be
    /// given up to `gather` late, together with others: that is cheaper for both sides.
    fn follow(
        &self,
        topic: &str,
        starts: &[PartitionOffset],
        gather: Duration,
    ) -> Result<Box<dyn Follower>, LogError>;
}

/// What happened to a membership since it was last polled.
#[derive(Clone, Debug)]
pub enum MembershipEvent {
    /// The group gave this member these partitions; nothing is read before `assign`.
    Assigned(Vec<i32>),
    /// The group took all partitions back; nothing more is delivered.
    Revoked,
    /// Something the client reported: an outage it will mend itself, or a reason to start over.
    Fault(LogFault),
}

/// An error event of a reading client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFault {
    /// Brokers are away or slow; the client retries for ever.
    Transient(String),
    /// The offset asked for is not in the log, the topic went away, or a record came out of turn:
    /// decide again where to read.
    Reset(String),
    /// A batch failed its checksum or cannot be decoded: the client has moved past it, so nothing
    /// may be read on from here.
    Corrupt(String),
    /// The client is dead; build another.
    Fatal(String),
}

/// Membership of a consumer group; stays on one thread, which must poll it at least every few
/// seconds (60 s at most, then the group takes its partitions away).
pub trait Membership {
    /// Blocks up to `wait` for the next event.
    fn poll(&mut self, wait: Duration) -> Option<MembershipEvent>;

    /// Reads exactly these partitions from exactly these offsets, from now on; replaces whatever
    /// was read. Nothing is read where there are none, and the member stays one: the group waits for
    /// this answer to every assignment. Gives one reader a partition, in the order of `starts`.
    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<Vec<Box<dyn Reader>>, LogError>;

    /// Tells the ecosystem's lag tools how far the store is. Only a hint: never read back, sent
    /// asynchronously, may be lost.
    fn applied(&self, positions: &[PartitionOffset]);
}

/// What a reader has to give.
#[derive(Debug)]
pub enum Fetched {
    /// One or more records in offset order; there may be holes between them.
    Records(Vec<Record>),
    /// Nothing within the wait.
    Nothing,
    /// Everything that was in the partition has been given (said once an end).
    End,
    Fault(LogFault),
}

/// The records of one partition; lives in the thread that stores them.
pub trait Reader: Send {
    fn partition(&self) -> i32;

    /// What is waiting, up to `max_records` or `max_bytes` (at least one record), blocking up to
    /// `wait` for the first and not at all for the rest.
    fn next(&mut self, max_records: usize, max_bytes: usize, wait: Duration) -> Fetched;

    /// Calls `notify`, from a thread of the engine, whenever records begin to wait.
    fn on_ready(&mut self, notify: Box<dyn Fn() + Send + Sync>);
}

/// Whether a record is known, by where it is and its key.
pub type Knows<'a> = dyn Fn(PartitionOffset, &[u8]) -> bool + 'a;

/// What a follower has to give.
#[derive(Debug)]
pub enum Followed {
    Record(Record),
    /// A record that the caller knew.
    Known(PartitionOffset),
    /// This partition has been read to its end.
    End(i32),
    Fault(LogFault),
}

/// A reader of a whole topic that belongs to no group.
pub trait Follower: Send {
    /// Blocks up to `wait` for the next record or event. A record that `knows` says yes to is
    /// not copied out of the client.
    fn next(&mut self, wait: Duration, knows: &Knows<'_>) -> Option<Followed>;

    /// Starts over with these partitions and offsets.
    fn assign(&mut self, starts: &[PartitionOffset]) -> Result<(), LogError>;
}
