//! What the operators' commands ask of a store, and do to it.
//!
//! One connection, owned by one thread; every call blocks, and is bounded by the limits of the
//! connection. What belongs together is a trait of its own, so that a command names what it needs.

use super::{AppliedMigration, Gap, OwnedPosition, Position, StoreError};
use crate::order::Timestamp;
use crate::pipeline::{LastApplied, TopicId};

pub(in crate::store) use self::accounting::sql;
pub use self::accounting::{Accounted, Accounting, OrderSource, SourcedRow};
pub use self::dead_letters::DeadLetters;
pub use self::tracing::{
    OrderTrace, StoreTrace, TracedErasure, TracedLetter, TracedRow, TracedSource,
};

mod accounting;
pub(super) mod dead_letter_sql;
pub mod dead_letters;
pub mod erasures;
pub mod overview;
pub mod reapply;
pub(in crate::store) mod tracing;

/// Everything that operators ask of a store.
pub trait OperatorStore:
    DeadLetters
    + Positions
    + MovePositions
    + Gaps
    + OrderList
    + erasures::Erasures
    + overview::Overview
    + reapply::Reapply
    + Accounting
    + OrderTrace
    + Send
{
    /// Lists the applied migrations in order of version; empty when there is no history table.
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError>;
}

/// How far each partition is applied, and by whom.
pub trait Positions {
    /// Reads the positions of a log and their owners, by partition.
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError>;

    /// Reads the gaps that operators accepted in this incarnation of the position's partition, as
    /// half-open ranges.
    fn accepted_gaps(&mut self, position: &Position) -> Result<Vec<(i64, i64)>, StoreError>;
}

/// Who changes something, and why; kept beside what was changed.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// `login@host`.
    pub by: &'a str,
    pub why: &'a str,
}

/// Where a position goes back to.
#[derive(Clone, Debug)]
pub struct PositionMove {
    pub log_id: String,
    pub partition: i32,
    pub topic_id: TopicId,
    pub next_offset: i64,
    /// The last record before `next_offset`, by which a consumer recognises the log; `None` at its
    /// start.
    pub last_applied: Option<LastApplied>,
}

/// Moves positions back: records are applied again, which is harmless.
pub trait MovePositions {
    /// Moves every position that is after its new place, in one transaction, and returns where each
    /// was. `None` for one that is not: another topic, no row, or not after that place. Whoever owns a
    /// partition is fenced by its next batch, and takes up the new position.
    fn move_back(
        &mut self,
        moves: &[PositionMove],
        change: &Change<'_>,
    ) -> Result<Vec<Option<i64>>, StoreError>;
}

/// A gap of one partition, as it was recorded.
#[derive(Clone, Debug)]
pub struct RecordedGap {
    pub partition: i32,
    pub epoch: i32,
    pub gap: Gap,
    pub noted_at: Timestamp,
}

/// A gap that an operator accepted.
#[derive(Clone, Debug)]
pub struct GapAcceptance {
    pub partition: i32,
    pub epoch: i32,
    /// Half-open.
    pub from: i64,
    pub to: i64,
    pub accepted_at: Timestamp,
    pub accepted_by: String,
    pub why: String,
}

/// Offsets that were never applied.
pub trait Gaps {
    /// Lists the recorded gaps of a log, the newest first, at most `limit`.
    fn recorded_gaps(&mut self, log_id: &str, limit: usize)
    -> Result<Vec<RecordedGap>, StoreError>;

    /// Lists what operators accepted in a log, the newest first, at most `limit`.
    fn gap_acceptances(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<Vec<GapAcceptance>, StoreError>;

    /// Accepts offsets `from..to` of a position's partition; `false` when they were accepted before.
    fn accept_gap(
        &mut self,
        position: &Position,
        from: i64,
        to: i64,
        change: &Change<'_>,
    ) -> Result<bool, StoreError>;
}

/// Which orders to list; all conditions hold.
#[derive(Clone, Debug, Default)]
pub struct OrderFilter {
    pub customer_id: Option<String>,
    pub track_number: Option<String>,
    /// Accepted at or after this time; microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Accepted before this time.
    pub until_us: Option<i64>,
    pub limit: usize,
}

/// A line of a list of orders. NULLs that other programs left are read as "" or 0.
#[derive(Clone, Debug)]
pub struct ListedOrder {
    pub order_uid: String,
    pub track_number: String,
    pub customer_id: String,
    pub delivery_service: String,
    pub amount: i64,
    pub currency: String,
    pub items: i64,
    pub date_created: Timestamp,
    /// None for rows that other programs wrote.
    pub accepted_at: Timestamp,
}

/// Lists orders.
pub trait OrderList {
    /// Lists the orders that were accepted last, the newest first; those without an accept time, which
    /// other programs wrote, come last.
    fn list_orders(&mut self, filter: &OrderFilter) -> Result<Vec<ListedOrder>, StoreError>;
}
