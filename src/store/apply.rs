//! How a batch is applied: the sequence of steps that both engines share.
//!
//! Owns the order of the steps and what follows from each outcome; the engines provide the steps.
//!
//! # Invariants
//!
//! - The position moves first, under the owner's name: a consumer that lost the partition is fenced
//!   before it has written anything.
//! - Orders, dead letters, gaps and the position become visible with one COMMIT. Every attempt is a
//!   whole transaction, so a failed one leaves nothing behind and skips nothing.

use std::collections::HashSet;

use uuid::Uuid;

use super::erasure::{Erased, Erasure, UidDigest};
use super::rejections::{self, Rejected, RejectionWindow};
use super::{
    Applied, Batch, Claim, DeadLetter, Gap, Holder, Outranked, Position, SourcedOrder,
    StartDecision, StoreError,
};
use crate::failpoint;

/// A connection that can begin write transactions.
pub(super) trait WriteConnection {
    type Transaction<'c>: WriteTransaction
    where
        Self: 'c;

    fn begin(&mut self) -> Result<Self::Transaction<'_>, StoreError>;
}

/// The steps of a write transaction. It is rolled back when it is dropped before [`commit`].
///
/// [`commit`]: WriteTransaction::commit
pub(super) trait WriteTransaction {
    /// Moves the position from the batch's start to its end, if it is at the start and still has
    /// the batch's owner and epoch; `None` when it did not.
    fn advance(&mut self, batch: &Batch) -> Result<Option<Advanced>, StoreError>;

    /// Finds which of these uids were erased, by their digests.
    fn find_erasures(&mut self, digests: &[UidDigest]) -> Result<Vec<Erasure>, StoreError>;

    /// Reads the position row with this id.
    fn find_position_by_id(&mut self, id: i64) -> Result<Option<OwnedPosition>, StoreError>;

    /// Reads the position row of the claim's partition.
    fn find_position(&mut self, claim: &Claim) -> Result<Option<OwnedPosition>, StoreError>;

    /// Inserts the orders whose uids are not stored.
    fn insert_new<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Inserted<'b>, InsertError>;

    /// Inserts orders, and overwrites those that are stored in an older version; returns the orders
    /// that it wrote.
    fn upsert<'b>(
        &mut self,
        batch: &Batch,
        orders: &[&'b SourcedOrder],
    ) -> Result<Vec<&'b SourcedOrder>, StoreError>;

    /// Finds those of the outdated orders whose stored version came from another partition.
    fn find_outranked(
        &mut self,
        batch: &Batch,
        outdated: &[&SourcedOrder],
    ) -> Result<Vec<Outranked>, StoreError>;

    /// Deletes delivery, payment and items of orders that were overwritten.
    fn delete_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError>;

    /// Inserts delivery, payment and items of orders that have none.
    fn insert_parts(&mut self, orders: &[&SourcedOrder]) -> Result<(), StoreError>;

    /// Inserts the dead letters that are not there yet: a replay under the same epoch repeats them.
    fn insert_dead_letters(
        &mut self,
        batch: &Batch,
        letters: &[DeadLetter],
    ) -> Result<(), StoreError>;

    /// Inserts gaps.
    fn insert_gaps(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Runs a statement of both dialects without parameters.
    fn execute(&mut self, sql: &'static str) -> Result<(), StoreError>;

    /// Inserts the position row or moves it; `None` when another owner has acquired it, or it is neither
    /// where the decision found it nor where it moves it. A new epoch clears the last applied record,
    /// which belongs to its epoch.
    fn upsert_position(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Option<Position>, StoreError>;

    /// Inserts a gap unless the same one is there.
    fn insert_gap_once(&mut self, position: &Position, gap: &Gap) -> Result<(), StoreError>;

    /// Fails in a transaction that was already rolled back, where COMMIT would answer Ok.
    fn check(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn commit(self) -> Result<(), StoreError>;
}

/// A position that was moved.
#[derive(Clone, Copy)]
pub(super) struct Advanced {
    /// Whether any order was ever erased, committed before this transaction locked the row: an erasure
    /// locks every position, so it comes wholly before a batch or wholly after it.
    pub has_erasures: bool,
}

/// A position row with its owner.
#[derive(Clone, Debug)]
pub struct OwnedPosition {
    pub position: Position,
    pub owner: Uuid,
    pub holder: Holder,
}

impl OwnedPosition {
    /// Whether it is where the batch moves it, by the same owner.
    fn is_after(&self, batch: &Batch) -> bool {
        let position = &self.position;
        self.owner == batch.owner
            && position.epoch == batch.epoch
            && position.next_offset == batch.end
            && (batch.last_applied.is_none() || position.last_applied == batch.last_applied)
    }

    /// Returns the holder; `None` when it is this owner.
    pub(super) fn other_than(self, owner: Uuid) -> Option<Holder> {
        (self.owner != owner).then_some(self.holder)
    }
}

/// What [`WriteTransaction::insert_new`] did with each order.
pub(super) struct Inserted<'b> {
    pub new: Vec<&'b SourcedOrder>,
    /// Orders whose uids are stored already; nothing was written for them.
    pub known: Vec<&'b SourcedOrder>,
}

pub(super) enum InsertError {
    /// Another session inserted one of the uids after they were found to be new.
    UniqueViolation,
    Store(StoreError),
}

impl From<StoreError> for InsertError {
    fn from(error: StoreError) -> InsertError {
        InsertError::Store(error)
    }
}

/// How the orders of a batch are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// Insert the new ones, upsert the others: most orders are new.
    InsertNew,
    /// Upsert all: another session inserts the same uids at the same time.
    Upsert,
    /// Upsert halves inside savepoints, to find the orders that the database rejects.
    Bisect,
}

/// Applies a batch: [`OrderStore::apply`](super::OrderStore::apply).
pub(super) fn apply<C: WriteConnection>(
    connection: &mut C,
    batch: &Batch,
    window: &mut RejectionWindow,
) -> Result<Applied, StoreError> {
    let mut strategy = Strategy::InsertNew;
    loop {
        match attempt(connection.begin()?, batch, window, strategy) {
            Ok(applied) => return Ok(applied),
            Err(InsertError::UniqueViolation) => strategy = Strategy::Upsert,
            Err(InsertError::Store(StoreError::Rejected(_))) if strategy != Strategy::Bisect => {
                strategy = Strategy::Bisect;
            }
            Err(InsertError::Store(error)) => return Err(error),
        }
    }
}

fn attempt(
    mut transaction: impl WriteTransaction,
    batch: &Batch,
    window: &mut RejectionWindow,
    strategy: Strategy,
) -> Result<Applied, InsertError> {
    let Some(advanced) = advance(&mut transaction, batch)? else {
        return Ok(Applied {
            already_applied: true,
            ..Applied::default()
        });
    };
    let erased = match advanced.has_erasures {
        true => Erased::new(transaction.find_erasures(&Erased::digests(batch))?),
        false => Erased::default(),
    };
    let orders = erased.without(batch)?;
    let mut rejected = Vec::new();
    let outdated = match strategy {
        Strategy::InsertNew => insert_new(&mut transaction, batch, &orders)?,
        Strategy::Upsert => write_parts(&mut transaction, batch, Vec::new(), &orders)?,
        Strategy::Bisect => bisect(&mut transaction, batch, &orders, &mut rejected)?,
    };
    let next_window = window.after(batch, &rejected)?;
    let mut letters = rejections::dead_letters(batch, &rejected);
    let dead_letters = letters.len();
    letters.retain(|letter| !erased.covers_letter(letter));
    transaction.insert_dead_letters(batch, &letters)?;
    transaction.insert_gaps(batch)?;
    let mut outranked = match outdated.as_slice() {
        [] => Vec::new(),
        outdated => transaction.find_outranked(batch, outdated)?,
    };
    outranked.sort_unstable_by_key(|it| it.offset);
    transaction.check()?;
    // COMMIT makes the orders and the position past them durable together. When the answer to it is
    // lost, the same batch is applied again on another connection, and `advance` detects it.
    failpoint::reach(failpoint::Point::BeforeCommit);
    transaction.commit()?;
    failpoint::reach(failpoint::Point::AfterCommit);
    *window = next_window;
    Ok(Applied {
        outdated: outdated.len(),
        erased: batch.orders.len() - orders.len() + dead_letters - letters.len(),
        outranked,
        rejected: rejected
            .into_iter()
            .map(|(sourced, why)| (sourced.offset, why))
            .collect(),
        already_applied: false,
    })
}

/// Moves the position; `None` when this very batch was committed before.
fn advance(
    transaction: &mut impl WriteTransaction,
    batch: &Batch,
) -> Result<Option<Advanced>, StoreError> {
    if let Some(advanced) = transaction.advance(batch)? {
        return Ok(Some(advanced));
    }
    match transaction.find_position_by_id(batch.position_id)? {
        Some(found) if found.is_after(batch) => Ok(None),
        found => Err(StoreError::Fenced(
            found.and_then(|found| found.other_than(batch.owner)),
        )),
    }
}

/// Returns the outdated orders: those that are older than what is stored.
fn insert_new<'b>(
    transaction: &mut impl WriteTransaction,
    batch: &Batch,
    orders: &[&'b SourcedOrder],
) -> Result<Vec<&'b SourcedOrder>, InsertError> {
    if orders.is_empty() {
        return Ok(Vec::new());
    }
    let Inserted { new, known } = transaction.insert_new(batch, orders)?;
    Ok(write_parts(transaction, batch, new, &known)?)
}

/// Upserts `known`, and writes the parts of the orders that passed and of those just inserted. Returns
/// the outdated orders.
fn write_parts<'b>(
    transaction: &mut impl WriteTransaction,
    batch: &Batch,
    mut written: Vec<&'b SourcedOrder>,
    known: &[&'b SourcedOrder],
) -> Result<Vec<&'b SourcedOrder>, StoreError> {
    let mut outdated = known.to_vec();
    if !known.is_empty() {
        let passed = transaction.upsert(batch, known)?;
        if !passed.is_empty() {
            transaction.delete_parts(&passed)?;
        }
        let offsets: HashSet<i64> = passed.iter().map(|sourced| sourced.offset).collect();
        outdated.retain(|sourced| !offsets.contains(&sourced.offset));
        written.extend(passed);
    }
    if !written.is_empty() {
        transaction.insert_parts(&written)?;
    }
    Ok(outdated)
}

/// Finds the orders that the database rejects, halving inside savepoints of the one transaction, so
/// that all others are stored in it. Returns the outdated orders.
fn bisect<'b>(
    transaction: &mut impl WriteTransaction,
    batch: &Batch,
    orders: &[&'b SourcedOrder],
    rejected: &mut Rejected<'b>,
) -> Result<Vec<&'b SourcedOrder>, StoreError> {
    transaction.execute("SAVEPOINT bisect")?;
    let why = match write_parts(transaction, batch, Vec::new(), orders) {
        Ok(outdated) => {
            transaction.execute("RELEASE bisect")?;
            return Ok(outdated);
        }
        Err(StoreError::Rejected(why)) => why,
        Err(other) => return Err(other),
    };
    transaction.execute("ROLLBACK TO bisect; RELEASE bisect")?;
    if let [order] = orders {
        if order.supersedes {
            // The older version may be storable, and was acknowledged too.
            return Err(StoreError::Rejected(why));
        }
        rejected.push((order, why));
        return match rejections::too_many(batch, rejected) {
            Some(error) => Err(error),
            None => Ok(Vec::new()),
        };
    }
    let (left, right) = orders.split_at(orders.len() / 2);
    let mut outdated = bisect(transaction, batch, left, rejected)?;
    outdated.extend(bisect(transaction, batch, right, rejected)?);
    Ok(outdated)
}

/// Writes where an acquired partition starts:
/// [`OrderStore::commit_start`](super::OrderStore::commit_start).
pub(super) fn commit_start<C: WriteConnection>(
    connection: &mut C,
    claim: &Claim,
    decision: &StartDecision,
) -> Result<Position, StoreError> {
    let mut transaction = connection.begin()?;
    // A database that was restored to before the row must not get one that skips what it lacks.
    if decision.from.is_some() && transaction.find_position(claim)?.is_none() {
        return Err(StoreError::Fenced(None));
    }
    let Some(position) = transaction.upsert_position(claim, decision)? else {
        let found = transaction.find_position(claim)?;
        return Err(StoreError::Fenced(
            found.and_then(|found| found.other_than(claim.owner)),
        ));
    };
    if let Some(gap) = &decision.gap {
        // The decision is written again when the answer to its COMMIT was lost.
        transaction.insert_gap_once(&position, gap)?;
    }
    transaction.check()?;
    transaction.commit()?;
    Ok(position)
}
