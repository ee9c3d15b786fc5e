//! Gaps as rows.

use rusqlite::{Connection, Error as SqliteError, params};

use crate::store::{Batch, Gap, Position};

const INSERT: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    VALUES (?1, ?2, ?3, ?4, ?5)";

const INSERT_ONCE: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (
        SELECT 1 FROM log_gaps
        WHERE position_id = ?1 AND epoch = ?2 AND from_offset = ?3 AND to_offset IS ?4
          AND reason = ?5)";

/// Inserts the gaps of a batch.
pub(super) fn insert(connection: &Connection, batch: &Batch) -> Result<(), SqliteError> {
    for gap in &batch.gaps {
        write(connection, INSERT, batch.position_id, batch.epoch, gap)?;
    }
    Ok(())
}

/// Inserts a gap unless its epoch has the same one.
pub(super) fn insert_once(
    connection: &Connection,
    position: &Position,
    gap: &Gap,
) -> Result<(), SqliteError> {
    write(connection, INSERT_ONCE, position.id, position.epoch, gap)
}

fn write(
    connection: &Connection,
    sql: &str,
    position_id: i64,
    epoch: i32,
    gap: &Gap,
) -> Result<(), SqliteError> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![position_id, epoch, gap.from, gap.to, gap.reason])?;
    Ok(())
}
