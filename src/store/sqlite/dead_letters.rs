//! Dead letters as rows.

use rusqlite::{Connection, Error as SqliteError, params};

use super::timestamp_text;
use crate::store::rejections::{kept_payload, payload_bytes, payload_digest};
use crate::store::{Batch, DeadLetter};

const INSERT: &str = r#"
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
    WHERE NOT EXISTS (
        SELECT 1 FROM log_gaps
        WHERE position_id = ?1 AND epoch = ?2 AND from_offset = ?5 AND reason = 'dead letter pruned')
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING"#;

/// Inserts the dead letters that are not there yet and were not pruned: a replay under the same epoch
/// repeats them.
pub(super) fn insert(
    connection: &Connection,
    batch: &Batch,
    letters: &[DeadLetter],
) -> Result<(), SqliteError> {
    for letter in letters {
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
