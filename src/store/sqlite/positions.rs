//! Position rows: acquiring a partition, committing where it starts, and finding its owner.
//!
//! No session is terminated here, unlike in PostgreSQL: a frozen process holds the file lock only
//! while it writes, and the kernel releases it with the process.

use std::sync::LazyLock;

use rusqlite::{Connection, Error as SqliteError, OptionalExtension, Params, Row, params};
use uuid::Uuid;

use crate::pipeline::LastApplied;
use crate::store::apply::{Advanced, OwnedPosition};
use crate::store::position_sql::PositionSql;
use crate::store::{Batch, Claim, Holder, Position, StartDecision};

static SQL: LazyLock<PositionSql> = LazyLock::new(|| {
    let now = "strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')";
    PositionSql::new('?', now, "substr(taken_at, 1, 19) || 'Z'")
});

/// Writes the claim's owner to the position row, and returns the row.
pub(super) fn acquire(
    connection: &Connection,
    claim: &Claim,
) -> Result<Option<Position>, SqliteError> {
    let owner = claim.owner.to_string();
    let parameters = params![
        claim.log_id,
        claim.partition,
        owner,
        claim.group,
        claim.host
    ];
    query_opt(connection, &SQL.acquire, parameters, position)
}

/// Moves the position past the batch; `None` when it did not.
pub(super) fn advance(
    connection: &Connection,
    batch: &Batch,
) -> Result<Option<Advanced>, SqliteError> {
    let last = batch.last_applied.as_ref();
    let parameters = params![
        batch.position_id,
        batch.owner.to_string(),
        batch.epoch,
        batch.end,
        last.map(|last| last.offset),
        last.map(|last| last.digest),
        batch.start,
    ];
    query_opt(connection, &SQL.advance, parameters, |row| {
        Ok(Advanced {
            has_erasures: row.get(0)?,
        })
    })
}

/// Inserts the row or moves it; `None` when another owner has acquired it, or it is elsewhere.
pub(super) fn upsert(
    connection: &Connection,
    claim: &Claim,
    decision: &StartDecision,
) -> Result<Option<Position>, SqliteError> {
    let owner = claim.owner.to_string();
    let (from_epoch, from_offset) = decision.from.unzip();
    let parameters = params![
        claim.log_id,
        claim.partition,
        decision.topic_id.as_str(),
        decision.epoch,
        decision.next_offset,
        owner,
        claim.group,
        claim.host,
        from_epoch,
        from_offset,
    ];
    query_opt(connection, &SQL.upsert, parameters, position)
}

/// Reads the position row of a partition.
pub(super) fn find(
    connection: &Connection,
    log_id: &str,
    partition: i32,
) -> Result<Option<OwnedPosition>, SqliteError> {
    let parameters = params![log_id, partition];
    query_opt(connection, &SQL.find, parameters, owned_position)
}

/// Reads the position row with this id.
pub(super) fn find_by_id(
    connection: &Connection,
    id: i64,
) -> Result<Option<OwnedPosition>, SqliteError> {
    query_opt(connection, &SQL.find_by_id, [id], owned_position)
}

/// Reads the positions of a log.
pub(super) fn of_log(connection: &Connection, log_id: &str) -> Result<Vec<Position>, SqliteError> {
    let mut statement = connection.prepare_cached(&SQL.of_log)?;
    statement.query_map([log_id], position)?.collect()
}

/// Reads the positions of a log and their owners.
pub(super) fn owned_of_log(
    connection: &Connection,
    log_id: &str,
) -> Result<Vec<OwnedPosition>, SqliteError> {
    let mut statement = connection.prepare_cached(&SQL.of_log)?;
    statement.query_map([log_id], owned_position)?.collect()
}

fn query_opt<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnOnce(&Row<'_>) -> Result<T, SqliteError>,
) -> Result<Option<T>, SqliteError> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(parameters, read).optional()
}

/// Reads a row of [`PositionSql`], without its owner.
fn position(row: &Row<'_>) -> Result<Position, SqliteError> {
    let digest = row.get_ref(6)?.as_blob_or_null()?;
    Ok(Position {
        id: row.get(0)?,
        topic_id: row.get_ref(1)?.as_str()?.into(),
        partition: row.get(2)?,
        epoch: row.get(3)?,
        next_offset: row.get(4)?,
        last_applied: LastApplied::from_columns(row.get(5)?, digest),
    })
}

fn owned_position(row: &Row<'_>) -> Result<OwnedPosition, SqliteError> {
    // A text that is not a UUID is no owner of this program.
    let owner = Uuid::try_parse(row.get_ref(7)?.as_str()?).unwrap_or_default();
    Ok(OwnedPosition {
        position: position(row)?,
        owner,
        holder: Holder {
            group: row.get(8)?,
            host: row.get(9)?,
            since: row.get(10)?,
        },
    })
}
