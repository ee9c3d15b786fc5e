//! What a batch leaves besides orders: its dead letters and the gaps it passed.

use super::*;
use crate::store::rejections::{Rejected, dead_letters, kept_payload, payload_digest};

/// A replay meets its own dead letters again only under the same epoch.
const INSERT_DEAD_LETTER: &str = r#"
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING"#;

const INSERT_GAP: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) fn insert_dead_letters(
    transaction: &Transaction<'_>,
    batch: &Batch,
    refused: &Rejected<'_>,
) -> Result<(), SqliteError> {
    for letter in dead_letters(batch, refused) {
        let bytes = letter.payload.as_ref().map_or(0, |payload| payload.len());
        transaction
            .prepare_cached(INSERT_DEAD_LETTER)?
            .execute(params![
                batch.position_id,
                batch.epoch,
                batch.topic,
                batch.partition,
                letter.offset,
                letter.key.as_deref(),
                kept_payload(&letter),
                bytes as i64,
                payload_digest(&letter),
                letter.order_uid,
                moment(letter.accepted_at_us),
                letter.reason,
            ])?;
    }
    Ok(())
}

pub(super) fn insert_gaps(transaction: &Transaction<'_>, batch: &Batch) -> Result<(), SqliteError> {
    for gap in &batch.gaps {
        transaction.prepare_cached(INSERT_GAP)?.execute(params![
            batch.position_id,
            batch.epoch,
            gap.from,
            gap.to,
            gap.reason,
        ])?;
    }
    Ok(())
}
