//! Everything that a store knows of one order, without its content.

use crate::order::Timestamp;
use crate::pipeline::{PartitionOffset, TopicId};
use crate::store::{Position, StoreError};

/// What a store knows of one order, at one moment.
#[derive(Clone, Debug, Default)]
pub struct StoreTrace {
    /// Of the log, by partition.
    pub positions: Vec<Position>,
    pub row: Option<TracedRow>,
    /// The newest ones, by their uid or their key.
    pub dead_letters: Vec<TracedLetter>,
    pub erasure: Option<TracedErasure>,
}

/// The row of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedRow {
    /// `None` for rows that other programs wrote.
    pub source: Option<TracedSource>,
    pub accepted_at: Timestamp,
}

/// The record that a row came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedSource {
    pub at: PartitionOffset,
    /// The incarnation of the topic; `None` when it was an earlier one than that of the position.
    pub topic_id: Option<TopicId>,
}

/// A dead letter of the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedLetter {
    pub topic: String,
    pub at: PartitionOffset,
    pub accepted_at: Timestamp,
    pub reason: String,
    /// `None` while it is open.
    pub resolution: Option<String>,
}

/// The marker that the order was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedErasure {
    /// No record accepted up to then is stored.
    pub until: Timestamp,
    pub erased_at: Timestamp,
}

/// Traces one order.
pub trait OrderTrace {
    /// Reads, in one snapshot, what the store knows of an order, with at most a hundred dead letters.
    fn trace(&mut self, log_id: &str, order_uid: &str) -> Result<StoreTrace, StoreError>;
}

/// Columns: partition, whether it is the current incarnation, offset, accept time, topic id. Parameter:
/// uid.
pub(in crate::store) const ROW: &str = "
    SELECT p.partition, p.epoch = o.source_epoch, o.source_offset, o.accepted_at, p.topic_id
    FROM orders o LEFT JOIN log_positions p ON p.id = o.source_position
    WHERE o.order_uid = $1";

/// Columns: until, erased at. Parameter: the digest of the uid.
pub(in crate::store) const ERASURE: &str =
    "SELECT erased_until, erased_at FROM erasures WHERE uid_sha256 = $1";
