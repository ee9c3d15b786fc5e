//! The store: orders, and how far each partition of the log is applied.
//!
//! Owns the values (positions, batches, lookup results, the five kinds of error) and the traits
//! that both engines implement; knows nothing of Kafka clients or HTTP. Every call blocks: one
//! thread owns one connection.
//!
//! # Invariants
//!
//! - A position, the fence against a second consumer and the orders of a batch change in one
//!   transaction. The position row therefore also shows whether a COMMIT without an answer
//!   happened.
//! - An older version of an order never overwrites a newer one.

use std::ops::ControlFlow;

use bytes::Bytes;
use uuid::Uuid;

use crate::order::{Order, Timestamp};
use crate::pipeline::{LastApplied, PartitionOffset, Source, TopicId, Version};

pub use self::apply::OwnedPosition;
pub use self::erasure::{Erasure, UidDigest, uid_digest};
pub use self::existing_tables::Relation;
pub use self::operator::erasures::{ErasedOrder, Erasures};
pub use self::operator::{
    Accounted, Accounting, Change, GapAcceptance, Gaps, ListedOrder, MovePositions, OperatorStore,
    OrderFilter, OrderList, OrderSource, OrderTrace, PositionMove, Positions, RecordedGap,
    SourcedRow, StoreTrace, TracedErasure, TracedLetter, TracedRow, TracedSource,
};
pub use self::outranked::Outranked;
pub use self::rejections::RejectionWindow;
pub use self::schema::{AppliedMigration, Dialect, Migration, Schema};

mod apply;
mod erasure;
mod existing_tables;
#[cfg(any(test, feature = "memory-store"))]
pub mod memory;
pub mod operator;
mod operator_sql;
mod order_sql;
mod outranked;
mod position_sql;
pub mod postgres;
mod rejections;
mod schema;
mod source;
pub mod sqlite;

/// The five kinds of failure; what the consumer does follows from the kind alone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached: reconnect and retry, without limit; dead-letter nothing.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Another session held a lock: retry, then retry in smaller batches.
    #[error("the database is contended: {0}")]
    Contended(String),
    /// The database rejects this data: find the one record and dead-letter it.
    #[error("the database rejects the data: {0}")]
    Rejected(String),
    /// Schema, rights or settings are wrong: stop, report it, retry slowly, dead-letter nothing.
    #[error("the database is misconfigured: {0}")]
    Misconfigured(String),
    /// The position was moved, deleted or acquired by another owner: this consumer must not write
    /// it. `None` when there is no other owner.
    #[error("another consumer owns the partition")]
    Fenced(Option<Holder>),
}

/// The owner of a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group `{group}`, process `{host}`, since {since}")]
pub struct Holder {
    pub group: String,
    /// `host:pid`.
    pub host: String,
    /// RFC 3339, UTC.
    pub since: String,
}

/// How a consumer identifies itself when it acquires a partition.
#[derive(Clone, Debug)]
pub struct Claim {
    pub log_id: String,
    pub partition: i32,
    /// A new one for every acquisition; the fence.
    pub owner: Uuid,
    pub group: String,
    /// `host:pid`.
    pub host: String,
}

/// A row of `log_positions`: how far one incarnation of one partition is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub id: i64,
    pub topic_id: TopicId,
    pub partition: i32,
    /// Counts the incarnations of the partition, from 1.
    pub epoch: i32,
    /// Everything below is stored, dead-lettered or listed in `log_gaps`.
    pub next_offset: i64,
    /// The last record applied; `None` before the first and after a new epoch.
    pub last_applied: Option<LastApplied>,
}

impl Position {
    /// The incarnation of the topic, and the next offset to apply.
    pub fn next(&self) -> (&TopicId, PartitionOffset) {
        let next = PartitionOffset::new(self.partition, self.next_offset);
        (&self.topic_id, next)
    }
}

/// Offsets that will never be applied, and why. Half-open; `to` is `None` when not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: i64,
    pub to: Option<i64>,
    pub reason: String,
}

/// Where an acquired partition starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartDecision {
    /// Epoch and next offset of the position that it was decided from; `None` when there was no row.
    pub from: Option<(i32, i64)>,
    pub topic_id: TopicId,
    pub epoch: i32,
    pub next_offset: i64,
    pub gap: Option<Gap>,
}

/// One order with its source.
#[derive(Clone, Debug)]
pub struct SourcedOrder {
    pub order: Order,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
    /// Whether an older version of it was left out of the same batch.
    pub supersedes: bool,
}

/// A record that could not become an order, kept whole (to 16 MiB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub offset: i64,
    pub key: Option<Bytes>,
    /// `None` is a null payload.
    pub payload: Option<Bytes>,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
    /// The uid, where one could be read.
    pub order_uid: Option<String>,
    pub reason: String,
}

/// Records `start..end` of one partition, to be applied in one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    pub position_id: i64,
    pub owner: Uuid,
    pub epoch: i32,
    pub topic: String,
    pub partition: i32,
    pub start: i64,
    pub end: i64,
    /// The last record of the batch; `None` when it holds only gaps.
    pub last_applied: Option<LastApplied>,
    /// At most one order a uid (the one with the highest offset), sorted by uid.
    pub orders: Vec<SourcedOrder>,
    pub dead_letters: Vec<DeadLetter>,
    pub gaps: Vec<Gap>,
}

/// What applying a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Offsets of orders that the database rejected and that are now dead letters, and why.
    pub rejected: Vec<(i64, String)>,
    /// Orders left out because the store has a newer version.
    pub outdated: usize,
    /// Records passed without being stored, because their orders were erased.
    pub erased: usize,
    /// Those of them whose stored version is of another partition.
    pub outranked: Vec<Outranked>,
    /// The batch had been committed before: an earlier COMMIT whose answer was lost.
    pub already_applied: bool,
}

/// A stored order. NULLs that other programs left are read as "" or 0.
#[derive(Clone, Debug)]
pub struct StoredOrder {
    pub order: Order,
    /// Where it came from, when that incarnation of its partition is the current one.
    pub source: Option<Source>,
    /// Microseconds since the epoch; `None` for rows that other programs wrote.
    pub accepted_at_us: Option<i64>,
}

impl StoredOrder {
    /// Which version it is; `None` where its source or its accept time is not known.
    pub fn version(&self) -> Option<Version> {
        Some(Version {
            source: self.source.clone()?,
            accepted_at_us: self.accepted_at_us?,
        })
    }
}

/// What the store holds for one uid.
#[derive(Clone, Debug)]
pub enum LookupResult {
    Stored(Box<StoredOrder>),
    /// Not stored, but a record with this uid, or with this key, is an open dead letter: the newest.
    DeadLettered {
        /// `topic/partition/offset`.
        location: String,
        reason: String,
    },
    Absent,
}

/// Rows and positions of one snapshot. `results[i]` belongs to the i-th uid of the lookup.
#[derive(Clone, Debug)]
pub struct LookupResults {
    pub results: Vec<LookupResult>,
    pub positions: Vec<Position>,
}

/// A database that connections can be opened to; shared by all threads.
pub trait StoreEngine: Send + Sync {
    /// Opens a connection for one thread. Blocks, for each address of the database, up to 5 s for
    /// the network and 15 s in all, or as long as the URL's `connect_timeout` says.
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError>;

    /// Opens a connection for `orders migrate`. Blocks as long as [`connect`](Self::connect).
    fn schema(&self) -> Result<Box<dyn Schema>, StoreError>;

    /// Opens a snapshot of everything stored; writers do not wait for it. Blocks until it is
    /// complete (SQLite: until the file is copied).
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Opens a connection for one of the operators' commands. Blocks as long as
    /// [`connect`](Self::connect).
    fn operator(&self) -> Result<Box<dyn OperatorStore>, StoreError>;

    /// Host and database, without secrets.
    fn describe(&self) -> String;

    /// A problem of a store that works, for operators. Never blocks.
    fn warning(&self) -> Option<String> {
        None
    }
}

/// One connection, owned by one thread.
pub trait OrderStore: Positions + Send {
    /// Writes the claim's owner to the position row and returns the row; `None` when there is none
    /// yet. From here on batches of the former owner are fenced.
    fn acquire(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError>;

    /// Writes where an acquired partition starts (inserting the row where there is none) together
    /// with the gap, in one transaction. [`StoreError::Fenced`] when another owner has acquired it, or
    /// the position is neither where the decision found it nor where it moves it.
    fn commit_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError>;

    /// Stores a batch and moves the position past it, in one transaction: all or nothing. An order
    /// that the database rejects becomes a dead letter in the same transaction. If it supersedes
    /// an older version of the batch, that version must be tried: [`StoreError::Rejected`] requests
    /// smaller batches.
    fn apply(&mut self, batch: &Batch, window: &mut RejectionWindow)
    -> Result<Applied, StoreError>;

    /// Looks up each uid and the positions of the log, in one snapshot.
    fn lookup(&mut self, log_id: &str, uids: &[&str]) -> Result<LookupResults, StoreError>;

    /// Visits the `limit` newest orders, the newest first, until `visit` breaks, and returns the
    /// positions of the log; in one snapshot. Few orders are in memory at a time.
    fn latest(
        &mut self,
        log_id: &str,
        limit: usize,
        visit: &mut dyn FnMut(StoredOrder) -> ControlFlow<()>,
    ) -> Result<Vec<Position>, StoreError>;

    /// Reads the position row of a partition without acquiring it.
    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError>;

    /// Returns the owner of the claim's partition; `None` when the claim still owns it.
    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError>;

    /// Lists the applied migrations in order of version; empty when there is no history table.
    /// `migrations::state` compares them with the files.
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;

    /// Makes one round trip that changes nothing.
    fn ping(&mut self) -> Result<(), StoreError>;
}

/// A row of `dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// `None` is a null payload.
    pub payload: Option<Vec<u8>>,
    /// The payload's original length; `payload` is shorter where it was longer than 16 MiB.
    pub payload_bytes: i64,
    /// SHA-256 of a payload that is not kept whole.
    pub payload_sha256: Option<Vec<u8>>,
    pub order_uid: Option<String>,
    pub accepted_at: Timestamp,
    pub reason: String,
    pub dead_at: Timestamp,
}

/// Everything that one database holds, at one moment. Reading it takes bounded memory.
pub trait Snapshot {
    /// Reads the positions of a log.
    fn positions(&mut self, log_id: &str) -> Result<Vec<Position>, StoreError>;

    /// Counts the orders and the open dead letters.
    fn counts(&mut self) -> Result<(u64, u64), StoreError>;

    /// Visits every stored order, by uid, until `visit` breaks. NULLs that other programs left are
    /// read as "" or 0.
    fn for_each_order(
        &mut self,
        visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Visits every open dead letter, the oldest first, until `visit` breaks.
    fn for_each_dead_letter(
        &mut self,
        visit: &mut dyn FnMut(StoredDeadLetter) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}
