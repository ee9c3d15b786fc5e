//! Dead letters as operators see and resolve them.
//!
//! Owns the values, and the sequence by which a dead letter is resolved; the engines provide the steps.
//!
//! # Invariants
//!
//! - A dead letter is resolved once: its row is locked before it is read.
//! - It is resolved in the transaction that stores its order, so a crash leaves it open, or resolved with
//!   its order stored.
//! - Its order is stored as the version that its record is: an older version never overwrites a newer
//!   one, whenever it is retried.

use std::ops::ControlFlow;

use crate::failpoint::{self, Point};
use crate::order::{Order, Timestamp};
use crate::store::apply::WriteTransaction;
use crate::store::erasure::Erased;
use crate::store::operator::Change;
use crate::store::{Batch, DeadLetter, SourcedOrder, StoreError, StoredDeadLetter};

/// Which dead letters are meant: those for which everything is true.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    pub state: DeadLetterState,
    /// Dead since then.
    pub since: Option<Timestamp>,
    /// Dead before then.
    pub until: Option<Timestamp>,
    pub order_uid: Option<String>,
    /// The key of the record.
    pub key: Option<Vec<u8>>,
    pub partition: Option<i32>,
}

/// Whether a dead letter still counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterState {
    #[default]
    Open,
    Resolved,
    All,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its order is stored.
    Retried,
    /// The store has a newer version of its order.
    Outdated,
    /// An operator has given it up.
    Discarded,
    /// Its order was erased.
    Erased,
}

impl Resolution {
    /// The value of the column.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Retried => "retried",
            Resolution::Outdated => "outdated",
            Resolution::Discarded => "discarded",
            Resolution::Erased => "erased",
        }
    }
}

/// A dead letter in a list by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterReason {
    pub id: i64,
    pub reason: String,
    pub dead_at: Timestamp,
}

/// A dead letter in a list, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    pub id: i64,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// At most the first KiB.
    pub key: Option<Vec<u8>>,
    pub order_uid: Option<String>,
    pub reason: String,
    pub dead_at: Timestamp,
    /// `None` while it is open.
    pub resolution: Option<String>,
}

/// Everything known of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDeadLetter {
    pub id: i64,
    pub letter: StoredDeadLetter,
    /// `None` while it is open.
    pub resolved: Option<Resolved>,
}

impl FoundDeadLetter {
    /// Whether the payload is only the head of that of the record.
    pub fn is_head(&self) -> bool {
        let kept = self.letter.payload.as_ref().map_or(0, Vec::len);
        usize::try_from(self.letter.payload_bytes) != Ok(kept)
    }
}

/// How, when, by whom and why a dead letter was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub resolution: String,
    pub at: Timestamp,
    pub by: String,
    pub why: String,
}

/// Whether a change is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Commit,
    /// Everything is done, and rolled back.
    DryRun,
}

/// What an attempt to resolve a dead letter did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Resolved(Resolution),
    /// It had been resolved before; nothing was changed.
    AlreadyResolved(String),
    /// There is no dead letter with this id.
    Missing,
}

/// What operators ask about dead letters, and do to them.
pub trait DeadLetters {
    /// Visits the reason of each dead letter, in no order, until `visit` breaks. Takes bounded memory.
    fn for_each_reason(
        &mut self,
        filter: &DeadLetterFilter,
        visit: &mut dyn FnMut(DeadLetterReason) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Lists up to `limit` dead letters whose ids are above `after`, by id.
    fn dead_letters(
        &mut self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>, StoreError>;

    /// Reads one dead letter with its payload of up to 16 MiB.
    fn dead_letter(&mut self, id: i64) -> Result<Option<FoundDeadLetter>, StoreError>;

    /// Stores the order as the version that the dead letter's record is, and resolves the dead letter,
    /// in one transaction. [`StoreError::Rejected`] when the database refuses the order: then the dead
    /// letter stays open.
    fn retry_dead_letter(
        &mut self,
        id: i64,
        order: &Order,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Outcome, StoreError>;

    /// Resolves a dead letter without storing anything.
    fn discard_dead_letter(
        &mut self,
        id: i64,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Outcome, StoreError>;

    /// Counts the dead letters that were resolved before then.
    fn count_resolved_before(&mut self, before: Timestamp) -> Result<u64, StoreError>;

    /// Deletes up to `limit` dead letters that were resolved before then; returns their number.
    fn prune_dead_letters(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// The steps by which a dead letter is resolved.
pub(in crate::store) trait ResolveTransaction: WriteTransaction {
    /// Locks the position of the dead letter, then the dead letter, until the transaction ends; `None`
    /// when there is no such dead letter. An erasure locks the position too, so it comes wholly before
    /// or wholly after.
    fn lock_dead_letter(&mut self, id: i64) -> Result<Option<LockedDeadLetter>, StoreError>;

    /// Writes the resolution.
    fn resolve_dead_letter(
        &mut self,
        id: i64,
        resolution: Resolution,
        change: &Change<'_>,
    ) -> Result<(), StoreError>;
}

/// A dead letter that nobody else can resolve meanwhile.
pub(in crate::store) struct LockedDeadLetter {
    pub position_id: i64,
    pub epoch: i32,
    pub topic: String,
    pub partition: i32,
    /// Without its payload.
    pub letter: DeadLetter,
    pub resolution: Option<String>,
}

impl LockedDeadLetter {
    /// The batch that its record would be, had it been this order.
    fn batch(self, order: &Order) -> Batch {
        let offset = self.letter.offset;
        let sourced = SourcedOrder {
            order: order.clone(),
            offset,
            accepted_at_us: self.letter.accepted_at_us,
            supersedes: false,
        };
        Batch {
            position_id: self.position_id,
            // The position is not moved.
            owner: uuid::Uuid::nil(),
            epoch: self.epoch,
            topic: self.topic,
            partition: self.partition,
            start: offset,
            end: offset,
            last_applied: None,
            orders: vec![sourced],
            dead_letters: vec![self.letter],
            gaps: Vec::new(),
        }
    }
}

/// As [`DeadLetters::retry_dead_letter`].
pub(in crate::store) fn retry(
    mut transaction: impl ResolveTransaction,
    id: i64,
    order: &Order,
    change: &Change<'_>,
    mode: Mode,
) -> Result<Outcome, StoreError> {
    let locked = match transaction.lock_dead_letter(id)? {
        None => return Ok(Outcome::Missing),
        Some(LockedDeadLetter {
            resolution: Some(resolution),
            ..
        }) => return Ok(Outcome::AlreadyResolved(resolution)),
        Some(locked) => locked,
    };
    let batch = locked.batch(order);
    let erased = Erased::new(transaction.find_erasures(&Erased::digests(&batch))?);
    let is_erased = batch.dead_letters.iter().any(|it| erased.covers_letter(it));
    let orders = erased.without(&batch)?;
    let resolution = if is_erased || orders.is_empty() {
        Resolution::Erased
    } else {
        match write(&mut transaction, &batch, &orders)? {
            true => Resolution::Retried,
            false => Resolution::Outdated,
        }
    };
    transaction.resolve_dead_letter(id, resolution, change)?;
    finish(transaction, mode)?;
    Ok(Outcome::Resolved(resolution))
}

/// Writes the orders that are not older than what is stored; whether there was any.
pub(super) fn write(
    transaction: &mut impl WriteTransaction,
    batch: &Batch,
    orders: &[&SourcedOrder],
) -> Result<bool, StoreError> {
    let written = transaction.upsert(batch, orders)?;
    if written.is_empty() {
        return Ok(false);
    }
    transaction.delete_parts(&written)?;
    transaction.insert_parts(&written)?;
    Ok(true)
}

/// As [`DeadLetters::discard_dead_letter`].
pub(in crate::store) fn discard(
    mut transaction: impl ResolveTransaction,
    id: i64,
    change: &Change<'_>,
    mode: Mode,
) -> Result<Outcome, StoreError> {
    match transaction.lock_dead_letter(id)? {
        None => return Ok(Outcome::Missing),
        Some(locked) => {
            if let Some(resolution) = locked.resolution {
                return Ok(Outcome::AlreadyResolved(resolution));
            }
        }
    }
    transaction.resolve_dead_letter(id, Resolution::Discarded, change)?;
    finish(transaction, mode)?;
    Ok(Outcome::Resolved(Resolution::Discarded))
}

/// Commits, or rolls a dry run back.
pub(super) fn finish(mut transaction: impl WriteTransaction, mode: Mode) -> Result<(), StoreError> {
    transaction.check()?;
    if mode == Mode::DryRun {
        return Ok(());
    }
    // COMMIT makes the order and the resolution durable together.
    failpoint::reach(Point::BeforeCommit);
    transaction.commit()?;
    failpoint::reach(Point::AfterCommit);
    Ok(())
}
