//! The store: where orders end up, and the one place that knows how far each log was applied.
//!
//! Owns the vocabulary (positions, batches, answers, the five kinds of error) and the traits that
//! every engine implements; knows nothing of Kafka clients or HTTP. Everything blocks: calls belong
//! on plain threads, one connection a thread. The surprising thing: the position row is the
//! position, the fence against a second consumer, and the answer to "did that COMMIT happen?".

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use uuid::Uuid;

use crate::order::{Order, Timestamp};
use crate::pipeline::{LastApplied, PartitionOffset, Source, TopicId, Version};

mod adoption;
#[cfg(test)]
pub mod memory;
pub mod postgres;
mod refusals;
pub mod sqlite;

/// The five kinds of failure; what the consumer does follows from the kind alone.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away: reconnect, wait, retry for ever. Nothing is dead-lettered.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Somebody else held what we needed: retry, then in smaller batches.
    #[error("the database is contended: {0}")]
    Contended(String),
    /// The database refuses this very data: find the one record and dead-letter it.
    #[error("the database refuses the data: {0}")]
    Rejected(String),
    /// Schema, rights or settings are wrong: stop, say so, retry slowly, dead-letter nothing.
    #[error("the database is not as it must be: {0}")]
    Misconfigured(String),
    /// The position is not where this consumer left it, or not its own any more: what follows is not
    /// ours to write. `None` when nobody else holds it: it was moved or deleted.
    #[error("the partition is not this consumer's any more")]
    Fenced(Option<Holder>),
}

/// Who holds a position now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("group `{group}` on host `{host}` since {since}")]
pub struct Holder {
    pub group: String,
    pub host: String,
    /// RFC 3339, UTC.
    pub since: String,
}

/// What this process says of itself when it takes a partition.
#[derive(Clone, Debug)]
pub struct Claim {
    pub log_id: String,
    pub partition: i32,
    /// Fresh for every take; the fence.
    pub owner: Uuid,
    pub group: String,
    pub host: String,
}

/// A row of `log_positions`: how far one incarnation of one partition is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub id: i64,
    pub topic_id: TopicId,
    pub partition: i32,
    /// Counts the incarnations of the partition that were seen, from 1.
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

/// What a take decided about a position; written with the claim's owner as the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub topic_id: TopicId,
    pub epoch: i32,
    pub next_offset: i64,
    pub gap: Option<Gap>,
}

/// One order with where it came from.
#[derive(Clone, Debug)]
pub struct SourcedOrder {
    pub order: Order,
    pub offset: i64,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
    /// An older version of it is in the same batch, and left out for it.
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
    /// Offsets of orders that the database refused and that are now dead letters.
    pub refused: Vec<(i64, String)>,
    /// Orders left out because the store has a newer version.
    pub outdated: usize,
    /// The batch had been committed before: an earlier COMMIT whose answer was lost.
    pub already: bool,
}

/// How the last 200 valid orders fared, across batches. When the database refuses two or more and
/// more than 5 % of them, that is a schema that changed, not input.
#[derive(Clone, Debug, Default)]
pub struct RefusalWindow(VecDeque<bool>);

impl RefusalWindow {
    /// How many orders it looks back at.
    pub const LENGTH: usize = 200;

    pub fn note(&mut self, refused: bool) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(refused);
    }

    pub fn is_a_schema_problem(&self) -> bool {
        let refused = self.0.iter().filter(|refused| **refused).count();
        refused >= 2 && refused * 20 > self.0.len()
    }
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
        Some(Version::new(self.source.clone()?, self.accepted_at_us?))
    }
}

/// What the store knows of one uid.
#[derive(Clone, Debug)]
pub enum Answer {
    Stored(Box<StoredOrder>),
    /// Never stored, but a record with this uid is a dead letter at topic/partition/offset.
    DeadLettered {
        place: String,
    },
    Absent,
}

/// Rows and positions of one snapshot. `answers[i]` belongs to the i-th uid asked for.
#[derive(Clone, Debug)]
pub struct Answers {
    pub answers: Vec<Answer>,
    pub positions: Vec<Position>,
}

/// The newest orders and the positions, of one snapshot.
#[derive(Clone, Debug)]
pub struct Latest {
    pub orders: Vec<StoredOrder>,
    pub positions: Vec<Position>,
}

/// A database that connections can be opened to; shared by all threads.
pub trait StoreEngine: Send + Sync {
    /// Opens a connection for one thread. Blocks up to 5 s for the network, and 15 s in all for a
    /// server that accepts and says nothing.
    fn connect(&self) -> Result<Box<dyn OrderStore>, StoreError>;

    /// Opens a connection for `orders migrate`. Blocks as long.
    fn schema(&self) -> Result<Box<dyn Schema>, StoreError>;

    /// Looks at everything that is stored at one moment, for as long as it takes: nobody has to wait
    /// for it. Blocks until there is room and time for that (SQLite: until a copy is made).
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Host and database, without any secret.
    fn describe(&self) -> String;

    /// What its operators should know though it works, in a sentence; `None` when all is well.
    /// Never blocks.
    fn complaint(&self) -> Option<String> {
        None
    }
}

/// One connection, owned by one thread.
pub trait OrderStore: Send {
    /// Puts the claim's owner on the position row and returns the row as it stands; `None` when
    /// there is none yet. From here on the former owner's batches are fenced.
    fn take(&mut self, claim: &Claim) -> Result<Option<Position>, StoreError>;

    /// Writes what a take decided (inserting the row where there was none), in one transaction with
    /// its gap. [`StoreError::Fenced`] when another owner came between.
    fn settle(&mut self, claim: &Claim, decided: &Settlement) -> Result<Position, StoreError>;

    /// Stores a batch and moves the position over it, in one transaction: all or nothing. An order
    /// that the database refuses becomes a dead letter in the same transaction; if it supersedes
    /// another of the batch, that one must have its chance: [`StoreError::Rejected`] asks for smaller
    /// batches.
    fn apply(&mut self, batch: &Batch, window: &mut RefusalWindow) -> Result<Applied, StoreError>;

    /// What is known of each uid, and the positions of the log, in one snapshot.
    fn answers(&mut self, log_id: &str, uids: &[&str]) -> Result<Answers, StoreError>;

    /// The `limit` newest orders and the positions of the log, in one snapshot.
    fn latest(&mut self, log_id: &str, limit: usize) -> Result<Latest, StoreError>;

    /// The position row of a partition without taking it.
    fn position(&mut self, log_id: &str, partition: i32) -> Result<Option<Position>, StoreError>;

    /// Who holds the partition of `claim` now; `None` when the claim still does.
    fn holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError>;

    /// The migrations that were applied, in order of version; empty when there is no history table.
    /// `migrations::state` judges them.
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;

    /// A round trip that touches nothing.
    fn ping(&mut self) -> Result<(), StoreError>;
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// `None` is a null payload.
    pub payload: Option<Vec<u8>>,
    /// How long it was; more than is kept where it was longer than 16 MiB.
    pub payload_bytes: i64,
    /// SHA-256 of a payload that is not kept whole.
    pub payload_sha256: Option<Vec<u8>>,
    pub order_uid: Option<String>,
    pub accepted_at: Timestamp,
    pub reason: String,
    pub dead_at: Timestamp,
}

/// What somebody who is shown one thing after the other says to each: go on, or that was enough.
pub type Shown = ControlFlow<()>;

/// Everything that one database holds, at one moment. Memory stays bounded, however much it is.
pub trait Snapshot {
    /// The positions of a log.
    fn positions(&mut self, log_id: &str) -> Result<Vec<Position>, StoreError>;

    /// How many orders and dead letters there are.
    fn counts(&mut self) -> Result<(u64, u64), StoreError>;

    /// Shows every stored order, by uid. NULLs that other programs left are read as "" or 0.
    fn each_order(&mut self, show: &mut dyn FnMut(Order) -> Shown) -> Result<(), StoreError>;

    /// Shows every dead letter, the oldest first.
    fn each_dead_letter(
        &mut self,
        show: &mut dyn FnMut(KeptLetter) -> Shown,
    ) -> Result<(), StoreError>;
}

/// Which words a database understands: each dialect has its own files of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    pub version: i32,
    pub name: String,
    /// SHA-256 of the file with CRLF read as LF, in hex.
    pub checksum: String,
    /// RFC 3339, UTC.
    pub applied_at: String,
}

/// A migration to apply.
#[derive(Clone, Copy, Debug)]
pub struct Migration<'a> {
    pub version: i32,
    pub name: &'a str,
    pub checksum: &'a str,
    pub sql: &'a str,
}

/// What `orders migrate` needs of a database; one connection.
pub trait Schema {
    /// Which files of migrations are for this database.
    fn dialect(&self) -> Dialect;

    /// Refuses a database that cannot hold orders (PostgreSQL: its encoding is not UTF8).
    fn check(&mut self) -> Result<(), StoreError>;

    /// The history in order of version; empty when there is no history table yet. Writes nothing.
    fn history(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;

    /// Whether go-orders' tables are there although no migration of ours made them.
    fn has_foreign_tables(&mut self) -> Result<bool, StoreError>;

    /// Tries to take the lock against parallel runs; `false` when another run has it. Does not
    /// wait. The lock ends with the connection.
    fn try_lock(&mut self) -> Result<bool, StoreError>;

    /// Applies one migration and its history row in one transaction.
    fn apply(&mut self, migration: Migration<'_>) -> Result<(), StoreError>;
}
