//! Position rows: acquiring a partition, committing where it starts, and finding its owner.
//!
//! No session is terminated here, unlike in PostgreSQL: a frozen process holds the file lock only
//! while it writes, and the kernel releases it with the process.

use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Row, params};
use uuid::Uuid;

use crate::pipeline::LastApplied;
use crate::store::apply::OwnedPosition;
use crate::store::{Batch, Claim, Holder, Position, StartDecision};

const ACQUIRE: &str = "
    UPDATE log_positions
    SET owner = ?3, owner_group = ?4, owner_host = ?5,
        taken_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
    WHERE log_id = ?1 AND partition = ?2
    RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest";

/// Moves the position from `start` to `end` if this owner still has it and it is still at `start`.
const ADVANCE: &str = "
    UPDATE log_positions
    SET next_offset = ?4, tail_offset = COALESCE(?5, tail_offset),
        tail_digest = COALESCE(?6, tail_digest)
    WHERE id = ?1 AND owner = ?2 AND epoch = ?3 AND next_offset = ?7";

const OWNED_POSITION: &str = "
    SELECT owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z',
           epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE id = ?1";

/// Inserts the row or moves it; leaves a row alone that another owner has acquired. The last applied
/// record belongs to its epoch.
const UPSERT_POSITION: &str = "
    INSERT INTO log_positions
        (log_id, partition, topic_id, epoch, next_offset, owner, owner_group, owner_host)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (log_id, partition) DO UPDATE
    SET topic_id = excluded.topic_id,
        epoch = excluded.epoch,
        next_offset = excluded.next_offset,
        tail_offset = CASE WHEN log_positions.epoch = excluded.epoch
            THEN log_positions.tail_offset END,
        tail_digest = CASE WHEN log_positions.epoch = excluded.epoch
            THEN log_positions.tail_digest END
    WHERE log_positions.owner = excluded.owner
    RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest";

const FIND: &str = "
    SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE log_id = ?1 AND partition = ?2";

const HOLDER: &str = "
    SELECT owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z'
    FROM log_positions WHERE log_id = ?1 AND partition = ?2";

/// Writes the claim's owner to the position row, and returns the row.
pub(super) fn acquire(
    connection: &Connection,
    claim: &Claim,
) -> Result<Option<Position>, SqliteError> {
    let owner = claim.owner.to_string();
    connection
        .prepare_cached(ACQUIRE)?
        .query_row(
            params![
                claim.log_id,
                claim.partition,
                owner,
                claim.group,
                claim.host
            ],
            position,
        )
        .optional()
}

/// Moves the position past the batch; whether it did.
pub(super) fn advance(connection: &Connection, batch: &Batch) -> Result<bool, SqliteError> {
    let last = batch.last_applied.as_ref();
    let moved = connection.prepare_cached(ADVANCE)?.execute(params![
        batch.position_id,
        batch.owner.to_string(),
        batch.epoch,
        batch.end,
        last.map(|last| last.offset),
        last.map(|last| last.digest),
        batch.start,
    ])?;
    Ok(moved == 1)
}

/// Reads the position row of a batch with its owner.
pub(super) fn owned(
    connection: &Connection,
    position_id: i64,
) -> Result<Option<OwnedPosition>, SqliteError> {
    connection
        .prepare_cached(OWNED_POSITION)?
        .query_row([position_id], |row| {
            Ok(OwnedPosition {
                owner: owner(row)?,
                holder: read_holder(row)?,
                epoch: row.get(4)?,
                next_offset: row.get(5)?,
                last_applied: last_applied(row, 6)?,
            })
        })
        .optional()
}

/// Inserts the row or moves it; `None` when another owner has acquired it.
pub(super) fn upsert(
    connection: &Connection,
    claim: &Claim,
    decision: &StartDecision,
) -> Result<Option<Position>, SqliteError> {
    connection
        .prepare_cached(UPSERT_POSITION)?
        .query_row(
            params![
                claim.log_id,
                claim.partition,
                decision.topic_id.as_str(),
                decision.epoch,
                decision.next_offset,
                claim.owner.to_string(),
                claim.group,
                claim.host,
            ],
            position,
        )
        .optional()
}

/// Reads the position row of a partition.
pub(super) fn find(
    connection: &Connection,
    log_id: &str,
    partition: i32,
) -> Result<Option<Position>, SqliteError> {
    connection
        .prepare_cached(FIND)?
        .query_row(params![log_id, partition], position)
        .optional()
}

/// Returns the owner of the claim's partition; `None` when the claim owns it.
pub(super) fn holder(
    connection: &Connection,
    claim: &Claim,
) -> Result<Option<Holder>, SqliteError> {
    let held = connection
        .prepare_cached(HOLDER)?
        .query_row(params![claim.log_id, claim.partition], |row| {
            Ok((owner(row)?, read_holder(row)?))
        })
        .optional()?;
    let other = held.filter(|(owner, _)| *owner != claim.owner);
    Ok(other.map(|(_, holder)| holder))
}

/// Reads the owner; a text that is no UUID is nobody's of this program.
fn owner(row: &Row<'_>) -> Result<Uuid, SqliteError> {
    let text = row.get_ref(0)?.as_str()?;
    Ok(Uuid::try_parse(text).unwrap_or_default())
}

fn read_holder(row: &Row<'_>) -> Result<Holder, SqliteError> {
    Ok(Holder {
        group: row.get(1)?,
        host: row.get(2)?,
        since: row.get(3)?,
    })
}

/// Reads the seven columns of a position, in the order of [`FIND`].
fn position(row: &Row<'_>) -> Result<Position, SqliteError> {
    Ok(Position {
        id: row.get(0)?,
        topic_id: row.get_ref(1)?.as_str()?.into(),
        partition: row.get(2)?,
        epoch: row.get(3)?,
        next_offset: row.get(4)?,
        last_applied: last_applied(row, 5)?,
    })
}

fn last_applied(row: &Row<'_>, column: usize) -> Result<Option<LastApplied>, SqliteError> {
    let digest = row.get_ref(column + 1)?.as_blob_or_null()?;
    Ok(LastApplied::from_columns(row.get(column)?, digest))
}
