//! Applying a batch: the position and the orders move together, in one transaction.
//!
//! The position moves first, under the owner's name: whoever lost the partition finds out before it
//! has written anything. Whatever fails afterwards rolls the position back too, so nothing is ever
//! passed over.

use super::leftovers::{insert_dead_letters, insert_gaps};
use super::rows::{Origin, RowWriter};
use super::*;
use crate::failpoint;
use crate::store::rejections::{Rejected, judge, too_many};

/// Moves the position from `start` to `end`, if this owner still has it and it still stands there.
const ADVANCE: &str = "
    UPDATE log_positions
    SET next_offset = $4, tail_offset = COALESCE($5, tail_offset),
        tail_digest = COALESCE($6, tail_digest)
    WHERE id = $1 AND owner = $2 AND epoch = $3 AND next_offset = $7";

const STANDING: &str = r#"
    SELECT owner, epoch, next_offset, tail_offset, tail_digest, owner_group, owner_host,
           to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM log_positions WHERE id = $1"#;

const KNOWN: &str = "SELECT order_uid FROM orders WHERE order_uid = ANY($1)";

/// How carefully the orders of a batch are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    /// Ask which uids are known, insert the others plainly.
    Fast,
    /// Everything by guarded upsert: somebody else inserts the same uids right now.
    Upsert,
    /// Everything by guarded upsert in savepoints, to find what the database refuses.
    Bisect,
}

pub(super) enum Failure {
    /// A uid that was unknown a moment ago is there: 23505.
    UniqueViolation,
    Store(StoreError),
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Failure {
        Failure::Store(classify(&error))
    }
}

enum Advance {
    Moved,
    Already,
}

impl PostgresStore {
    pub(super) fn apply_batch(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
    ) -> Result<Applied, StoreError> {
        let mut care = Care::Fast;
        loop {
            // Every attempt is a whole transaction; a failed one has left nothing behind.
            match self.try_apply(batch, window, care) {
                Ok(applied) => return Ok(applied),
                Err(Failure::UniqueViolation) => care = Care::Upsert,
                Err(Failure::Store(StoreError::Rejected(_))) if care != Care::Bisect => {
                    care = Care::Bisect;
                }
                Err(Failure::Store(error)) => return Err(error),
            }
        }
    }

    fn try_apply(
        &mut self,
        batch: &Batch,
        window: &mut RejectionWindow,
        care: Care,
    ) -> Result<Applied, Failure> {
        let PostgresStore { client, statements } = self;
        let mut transaction = client.transaction()?;
        if let Advance::Already = advance(&mut transaction, statements, batch)? {
            return Ok(Applied {
                already_applied: true,
                ..Applied::default()
            });
        }
        let orders: Vec<&SourcedOrder> = batch.orders.iter().collect();
        let mut refused = Vec::new();
        let written = match care {
            Care::Fast => write_fast(&mut transaction, statements, batch, &orders)?,
            Care::Upsert => upsert(&mut transaction, statements, batch, &orders)?,
            Care::Bisect => bisect(&mut transaction, statements, batch, &orders, &mut refused)?,
        };
        let judged = judge(batch, window, &refused).map_err(Failure::Store)?;
        insert_dead_letters(&mut transaction, statements, batch, &refused)?;
        insert_gaps(&mut transaction, batch)?;
        // COMMIT answers Ok even when the server rolls back; in a lost transaction this fails.
        transaction.simple_query("SELECT 1")?;
        // From here on the orders and the position past them are one fact. If the answer is lost,
        // the same batch is applied again and `advance` finds out that it was.
        failpoint::reach(failpoint::Point::BeforeCommit);
        transaction.commit()?;
        failpoint::reach(failpoint::Point::AfterCommit);
        *window = judged;
        let outdated = orders.len() - refused.len() - written;
        let refused = refused
            .into_iter()
            .map(|(order, why)| (order.offset, why))
            .collect();
        Ok(Applied {
            rejected: refused,
            outdated,
            already_applied: false,
        })
    }
}

/// Moves the position, or finds that this very batch was committed before, or is fenced.
fn advance(
    transaction: &mut Transaction<'_>,
    statements: &mut Statements,
    batch: &Batch,
) -> Result<Advance, Failure> {
    let tail_offset = batch.last_applied.as_ref().map(|last| last.offset);
    let tail_digest = batch
        .last_applied
        .as_ref()
        .map(|last| last.digest.as_slice());
    let statement = statements.get(transaction, ADVANCE)?;
    let moved = transaction.execute(
        &statement,
        &[
            &batch.position_id,
            &batch.owner,
            &batch.epoch,
            &batch.end,
            &tail_offset,
            &tail_digest,
            &batch.start,
        ],
    )?;
    if moved == 1 {
        return Ok(Advance::Moved);
    }
    let Some(row) = transaction.query_opt(STANDING, &[&batch.position_id])? else {
        return Err(Failure::Store(StoreError::Fenced(None)));
    };
    let ours = row.get::<_, Uuid>(0) == batch.owner
        && row.get::<_, i32>(1) == batch.epoch
        && row.get::<_, i64>(2) == batch.end
        && (tail_offset.is_none()
            || (row.get::<_, Option<i64>>(3) == tail_offset
                && row.get::<_, Option<&[u8]>>(4) == tail_digest));
    if ours {
        return Ok(Advance::Already);
    }
    let holder = (row.get::<_, Uuid>(0) != batch.owner).then(|| Holder {
        group: row.get(5),
        host: row.get(6),
        since: row.get(7),
    });
    Err(Failure::Store(StoreError::Fenced(holder)))
}

/// Gives how many orders were written; the others are older than what is stored.
fn write_fast(
    transaction: &mut Transaction<'_>,
    statements: &mut Statements,
    batch: &Batch,
    orders: &[&SourcedOrder],
) -> Result<usize, Failure> {
    if orders.is_empty() {
        return Ok(0);
    }
    let uids: Vec<&str> = orders
        .iter()
        .map(|sourced| sourced.order.order_uid.as_str())
        .collect();
    let statement = statements.get(transaction, KNOWN)?;
    let known: HashSet<String> = transaction
        .query(&statement, &[&uids])?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (known, unknown): (Vec<&SourcedOrder>, Vec<&SourcedOrder>) = orders
        .iter()
        .partition(|sourced| known.contains(&sourced.order.order_uid));
    let mut writer = RowWriter {
        transaction,
        statements,
        origin: origin(batch),
    };
    writer.insert_orders(&unknown).map_err(|error| {
        if error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
            Failure::UniqueViolation
        } else {
            error.into()
        }
    })?;
    let passed = writer.upsert_orders(&known)?;
    write_parts(&mut writer, &unknown, &known, &passed)
}

fn upsert(
    transaction: &mut Transaction<'_>,
    statements: &mut Statements,
    batch: &Batch,
    orders: &[&SourcedOrder],
) -> Result<usize, Failure> {
    let mut writer = RowWriter {
        transaction,
        statements,
        origin: origin(batch),
    };
    let passed = writer.upsert_orders(orders)?;
    write_parts(&mut writer, &[], orders, &passed)
}

/// Replaces the parts of those that passed, and adds the parts of new ones.
fn write_parts(
    writer: &mut RowWriter<'_, '_>,
    new: &[&SourcedOrder],
    known: &[&SourcedOrder],
    passed: &HashSet<String>,
) -> Result<usize, Failure> {
    let mut written = new.to_vec();
    if !passed.is_empty() {
        let passed = known
            .iter()
            .filter(|sourced| passed.contains(&sourced.order.order_uid));
        written.extend(passed);
        let uids: Vec<&str> = written[new.len()..]
            .iter()
            .map(|sourced| sourced.order.order_uid.as_str())
            .collect();
        writer.delete_parts(&uids)?;
    }
    writer.insert_parts(&written)?;
    Ok(written.len())
}

/// Finds the orders that the database refuses, halving inside savepoints of the one transaction, so
/// that all the others are stored in it.
fn bisect<'b>(
    transaction: &mut Transaction<'_>,
    statements: &mut Statements,
    batch: &Batch,
    orders: &[&'b SourcedOrder],
    refused: &mut Rejected<'b>,
) -> Result<usize, Failure> {
    let mut savepoint = transaction.transaction()?;
    match upsert(&mut savepoint, statements, batch, orders) {
        Ok(written) => {
            savepoint.commit()?;
            Ok(written)
        }
        Err(Failure::Store(StoreError::Rejected(why))) => {
            savepoint.rollback()?;
            if let [order] = orders {
                if order.supersedes {
                    // The version it stands for may be storable, and was acknowledged too.
                    return Err(Failure::Store(StoreError::Rejected(why)));
                }
                refused.push((order, why));
                return match too_many(batch, refused) {
                    Some(error) => Err(Failure::Store(error)),
                    None => Ok(0),
                };
            }
            let (left, right) = orders.split_at(orders.len() / 2);
            let written = bisect(transaction, statements, batch, left, refused)?;
            Ok(written + bisect(transaction, statements, batch, right, refused)?)
        }
        Err(other) => Err(other),
    }
}

fn origin(batch: &Batch) -> Origin {
    Origin {
        position_id: batch.position_id,
        epoch: batch.epoch,
    }
}
