//! Dead letters as rows.

use std::collections::BTreeSet;

use rusqlite::{Connection, Error as SqliteError, params};

use super::timestamp_text;
use crate::store::rejections::{PRUNED, kept_payload, payload_bytes, payload_digest};
use crate::store::{Batch, DeadLetter};

const INSERT: &str = r#"
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING"#;

/// The table has no index for it, so it is read once a batch and not once a dead letter.
const FIND_PRUNED: &str = "
    SELECT from_offset FROM log_gaps
    WHERE position_id = ?1 AND epoch = ?2 AND from_offset BETWEEN ?3 AND ?4
      AND reason = ?5";

/// Inserts the dead letters that are not there yet and were not pruned: a replay under the same epoch
/// repeats them.
pub(super) fn insert(
    connection: &Connection,
    batch: &Batch,
    letters: &[DeadLetter],
) -> Result<(), SqliteError> {
    let pruned = pruned(connection, batch, letters)?;
    for letter in letters {
        if pruned.contains(&letter.offset) {
            continue;
        }
        connection.prepare_cached(INSERT)?.execute(params![
            batch.position_id,
            batch.epoch,
            batch.topic,
            batch.partition,
            letter.offset,
            letter.key.as_deref(),
            kept_payload(letter),
            payload_bytes(letter),
            payload_digest(letter),
            letter.order_uid,
            timestamp_text(letter.accepted_at_us),
            letter.reason,
        ])?;
    }
    Ok(())
}

/// The offsets of those that were pruned; at most as many as a batch has offsets.
fn pruned(
    connection: &Connection,
    batch: &Batch,
    letters: &[DeadLetter],
) -> Result<BTreeSet<i64>, SqliteError> {
    let offsets = letters.iter().map(|letter| letter.offset);
    let (Some(first), Some(last)) = (offsets.clone().min(), offsets.max()) else {
        return Ok(BTreeSet::new());
    };
    let parameters = params![batch.position_id, batch.epoch, first, last, PRUNED];
    let mut statement = connection.prepare_cached(FIND_PRUNED)?;
    let rows = statement.query_map(parameters, |row| row.get(0))?;
    rows.collect()
}
