//! Applying a batch: the position and the orders move together, in one transaction.
//!
//! The position moves first, under the owner's name: whoever lost the partition finds out before it
//! has written anything. Whatever fails afterwards rolls the position back too, so nothing is ever
//! passed over. The surprising thing: finding what is refused needs no halving here. A statement
//! costs no round trip, so each order gets a savepoint of its own, but only once one was refused.

use super::leftovers::{insert_dead_letters, insert_gaps};
use super::rows::{Origin, write};
use super::*;
use crate::failpoint;
use crate::store::rejections::{Rejected, judge, too_many};

/// Moves the position from `start` to `end`, if this owner still has it and it still stands there.
const ADVANCE: &str = "
    UPDATE log_positions
    SET next_offset = ?4, tail_offset = COALESCE(?5, tail_offset),
        tail_digest = COALESCE(?6, tail_digest)
    WHERE id = ?1 AND owner = ?2 AND epoch = ?3 AND next_offset = ?7";

const STANDING: &str = "
    SELECT owner, epoch, next_offset, tail_offset, tail_digest, owner_group, owner_host,
           substr(taken_at, 1, 19) || 'Z'
    FROM log_positions WHERE id = ?1";

/// How carefully the orders of a batch are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// All or nothing.
    Fast,
    /// Each order in a savepoint, to find what the database refuses.
    EachAlone,
}

enum Advance {
    Moved,
    Already,
}

impl SqliteStore {
    pub(super) fn apply_batch(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        // Every attempt is a whole transaction; a failed one has left nothing behind.
        match self.try_apply(batch, window, Care::Fast) {
            Err(StoreError::Rejected(_)) => self.try_apply(batch, window, Care::EachAlone),
            decided => decided,
        }
    }

    fn try_apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
        care: Care,
    ) -> Result<Applied, StoreError> {
        let file = self.file.clone();
        self.writing(|mut transaction| {
            if let Advance::Already = advance(&transaction, batch)? {
                return Ok(Applied {
                    already_applied: true,
                    ..Applied::default()
                });
            }
            let mut refused = Vec::new();
            let written = match care {
                Care::Fast => write_all(&transaction, batch)?,
                Care::EachAlone => write_each(&mut transaction, batch, &mut refused, file.path())?,
            };
            let judged = judge(batch, window, &refused).map_err(Failure::Store)?;
            insert_dead_letters(&transaction, batch, &refused)?;
            insert_gaps(&transaction, batch)?;
            // From here on the orders and the position past them are one fact. If COMMIT fails,
            // they may be on the disk or not: the same batch is applied again on another
            // connection, and `advance` finds out.
            failpoint::reach(failpoint::Point::BeforeCommit);
            transaction.commit()?;
            failpoint::reach(failpoint::Point::AfterCommit);
            *window = judged;
            let outdated = batch.orders.len() - refused.len() - written;
            let refused = refused
                .into_iter()
                .map(|(order, why)| (order.offset, why))
                .collect();
            Ok(Applied {
                rejected: refused,
                outdated,
                already_applied: false,
            })
        })
    }
}

/// Moves the position, or finds that this very batch was committed before, or is fenced.
fn advance(transaction: &Transaction<'_>, batch: &Batch) -> Result<Advance, Failure> {
    let owner = batch.owner.to_string();
    let moved = transaction.prepare_cached(ADVANCE)?.execute(params![
        batch.position_id,
        owner,
        batch.epoch,
        batch.end,
        batch.last_applied.as_ref().map(|last| last.offset),
        batch.last_applied.as_ref().map(|last| last.digest),
        batch.start,
    ])?;
    if moved == 1 {
        return Ok(Advance::Moved);
    }
    let standing = transaction
        .prepare_cached(STANDING)?
        .query_row([batch.position_id], |row| {
            let tail = row.get::<_, Option<i64>>(3)?.zip(row.get(4)?);
            let holder = Holder {
                group: row.get(5)?,
                host: row.get(6)?,
                since: row.get(7)?,
            };
            let is_owner = row.get::<_, String>(0)? == owner;
            let is_there = is_owner
                && row.get::<_, i32>(1)? == batch.epoch
                && row.get::<_, i64>(2)? == batch.end
                && is_tail(batch, tail);
            Ok((is_there, (!is_owner).then_some(holder)))
        })
        .optional()?;
    match standing {
        Some((true, _)) => Ok(Advance::Already),
        Some((false, holder)) => Err(Failure::Store(StoreError::Fenced(holder))),
        None => Err(Failure::Store(StoreError::Fenced(None))),
    }
}

/// Whether the last record applied is this batch's; one of gaps alone has none.
fn is_tail(batch: &Batch, applied: Option<(i64, Vec<u8>)>) -> bool {
    batch.last_applied.as_ref().is_none_or(|last| {
        applied.is_some_and(|(offset, digest)| {
            offset == last.offset && digest.as_slice() == last.digest
        })
    })
}

/// Gives how many orders were written; the others are older than what is stored.
fn write_all(transaction: &Transaction<'_>, batch: &Batch) -> Result<usize, Failure> {
    let mut written = 0;
    for sourced in &batch.orders {
        written += usize::from(write(transaction, origin(batch), sourced)?);
    }
    Ok(written)
}

/// As [`write_all`], noting what the database refuses.
fn write_each<'b>(
    transaction: &mut Transaction<'_>,
    batch: &'b Batch,
    refused: &mut Rejected<'b>,
    file: &Path,
) -> Result<usize, Failure> {
    let mut written = 0;
    for sourced in &batch.orders {
        let savepoint = transaction.savepoint()?;
        match write(&savepoint, origin(batch), sourced) {
            Ok(passed) => {
                savepoint.commit()?;
                written += usize::from(passed);
                continue;
            }
            Err(error) if is_refusal(&error) => {
                let why = FileError::of(file, &error).to_string();
                if savepoint.is_autocommit() {
                    // The position would not move with what follows.
                    return Err(Failure::Store(StoreError::Misconfigured(format!(
                        "a trigger of it ends the transaction, where it may only ABORT: {why}"
                    ))));
                }
                // Dropping it rolls back what this order had written.
                drop(savepoint);
                if sourced.supersedes {
                    // The version it stands for may be storable, and was acknowledged too.
                    return Err(Failure::Store(StoreError::Rejected(why)));
                }
                refused.push((sourced, why));
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(error) = too_many(batch, refused) {
            return Err(Failure::Store(error));
        }
    }
    Ok(written)
}

fn origin(batch: &Batch) -> Origin {
    Origin {
        position_id: batch.position_id,
        epoch: batch.epoch,
    }
}
