//! Applies a record of the log again, below the position of its partition.
//!
//! # Invariants
//!
//! - The order is stored as the version that its record is: it overwrites no newer one.
//! - The position is locked before anything is read, as a batch and an erasure lock it: the record comes
//!   wholly before or wholly after them.

use super::dead_letters::{Mode, finish, write};
use crate::order::Order;
use crate::pipeline::{PartitionOffset, TopicId};
use crate::store::apply::WriteTransaction;
use crate::store::erasure::Erased;
use crate::store::{Batch, Change, SourcedOrder, StoreError};

/// A record of the log, decoded.
#[derive(Clone, Copy, Debug)]
pub struct DecodedRecord<'a> {
    pub log_id: &'a str,
    pub topic_id: &'a TopicId,
    pub topic: &'a str,
    pub at: PartitionOffset,
    /// Microseconds since the epoch.
    pub accepted_at_us: i64,
    pub order: &'a Order,
}

/// What became of a record that was applied again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reapplied {
    Stored,
    /// The store has a newer version of its order.
    Outdated,
    /// Its order was erased.
    Erased,
    /// The position is not past it in this incarnation of the topic: it is left to the consumer.
    Waiting,
}

/// Applies single records again.
pub trait Reapply {
    /// Stores the order as the version that its record is, in one transaction with the trace of who and
    /// why on the position row, which does not move. [`StoreError::Rejected`] when the database refuses
    /// the order.
    fn reapply(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Reapplied, StoreError>;
}

/// The step that only this needs.
pub(in crate::store) trait ReapplyTransaction: WriteTransaction {
    /// Locks the position of the record's partition, and leaves the trace in it; `None` when there is
    /// none for this incarnation of the topic.
    fn lock_position(
        &mut self,
        record: &DecodedRecord<'_>,
        change: &Change<'_>,
    ) -> Result<Option<LockedPosition>, StoreError>;
}

/// A position that does not move meanwhile.
pub(in crate::store) struct LockedPosition {
    pub id: i64,
    pub epoch: i32,
    pub next_offset: i64,
}

/// As [`Reapply::reapply`].
pub(in crate::store) fn reapply(
    mut transaction: impl ReapplyTransaction,
    record: &DecodedRecord<'_>,
    change: &Change<'_>,
    mode: Mode,
) -> Result<Reapplied, StoreError> {
    let position = match transaction.lock_position(record, change)? {
        Some(position) if record.at.offset < position.next_offset => position,
        _ => return Ok(Reapplied::Waiting),
    };
    let batch = batch(record, &position);
    let erased = Erased::new(transaction.find_erasures(&Erased::digests(&batch))?);
    let orders = erased.without(&batch)?;
    if orders.is_empty() {
        return Ok(Reapplied::Erased);
    }
    if !write(&mut transaction, &batch, &orders)? {
        return Ok(Reapplied::Outdated);
    }
    finish(transaction, mode)?;
    Ok(Reapplied::Stored)
}

/// The batch that the record would be.
fn batch(record: &DecodedRecord<'_>, position: &LockedPosition) -> Batch {
    let PartitionOffset { partition, offset } = record.at;
    let sourced = SourcedOrder {
        order: record.order.clone(),
        offset,
        accepted_at_us: record.accepted_at_us,
        supersedes: false,
    };
    Batch {
        position_id: position.id,
        // The position is not moved.
        owner: uuid::Uuid::nil(),
        epoch: position.epoch,
        topic: record.topic.to_owned(),
        partition,
        start: offset,
        end: offset,
        last_applied: None,
        orders: vec![sourced],
        dead_letters: Vec::new(),
        gaps: Vec::new(),
    }
}
