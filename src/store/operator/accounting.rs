//! What a store says of every record of a log, without any order's content.

use std::ops::ControlFlow;

use crate::pipeline::PartitionOffset;
use crate::store::{Erasure, Position, StoreError};

/// A row that accounts for records of a log.
#[derive(Clone, Debug)]
pub enum Accounted<'a> {
    Position(Position),
    /// Offsets `from..to` that were never applied in the current incarnation of a partition.
    Gap {
        partition: i32,
        from: i64,
        to: i64,
    },
    /// A dead letter, open, resolved or pruned, of the current incarnation of its partition.
    DeadLetter(PartitionOffset),
    Erasure(Erasure),
    Order(SourcedRow<'a>),
}

/// A stored order without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcedRow<'a> {
    pub order_uid: &'a str,
    /// `None` for rows that other programs wrote.
    pub source: Option<OrderSource>,
    /// Microseconds since the epoch; `None` for rows that other programs wrote.
    pub accepted_at_us: Option<i64>,
}

/// The record that a row came from, as its columns have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderSource {
    /// The id of the position row.
    pub position_id: i64,
    pub epoch: i32,
    pub offset: i64,
}

/// Accounts for the records of a log.
pub trait Accounting {
    /// Visits, in one snapshot, what accounts for the records of a log: its positions first, then gaps
    /// of known extent, dead letters, erasures, and at last every order of the store, whichever log it
    /// came from. Ends when `visit` breaks. Takes bounded memory; blocks for about a second for a
    /// million orders, in which SQLite cannot truncate its WAL.
    fn account(
        &mut self,
        log_id: &str,
        visit: &mut dyn FnMut(Accounted<'_>) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;
}

/// The statements of both dialects; the first parameter is the log id.
pub(in crate::store) mod sql {
    /// Second parameter: the reason of pruned dead letters. Columns: partition, from, to.
    pub(in crate::store) const GAPS: &str = "
        SELECT p.partition, g.from_offset, g.to_offset
        FROM log_gaps g JOIN log_positions p ON p.id = g.position_id AND p.epoch = g.epoch
        WHERE p.log_id = $1 AND g.to_offset IS NOT NULL AND g.reason <> $2
        ORDER BY p.partition, g.from_offset";

    /// Second parameter: as of [`GAPS`]. Columns: partition, offset; of those that were pruned too.
    pub(in crate::store) const DEAD_LETTERS: &str = r#"
        SELECT p.partition AS of_partition, d."offset" AS at_offset
        FROM dead_letters d JOIN log_positions p ON p.id = d.position_id AND p.epoch = d.epoch
        WHERE p.log_id = $1
        UNION ALL
        SELECT p.partition, g.from_offset
        FROM log_gaps g JOIN log_positions p ON p.id = g.position_id AND p.epoch = g.epoch
        WHERE p.log_id = $1 AND g.reason = $2
        ORDER BY of_partition, at_offset"#;

    pub(in crate::store) const ERASURES: &str = "SELECT uid_sha256, erased_until FROM erasures";

    pub(in crate::store) const ORDERS: &str = "
        SELECT order_uid, source_position, source_epoch, source_offset, accepted_at FROM orders";
}
