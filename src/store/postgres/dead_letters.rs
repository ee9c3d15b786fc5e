//! Dead letters as rows.

use ::postgres::{Error as PgError, GenericClient};

use super::micros::Micros;
use super::statements::Statements;
use crate::store::rejections::{PRUNED, kept_payload, payload_bytes, payload_digest};
use crate::store::{Batch, DeadLetter};

const INSERT: &str = r#"
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    SELECT $1::int8, $2::int4, $3, $4, d.*
    FROM unnest($5::int8[], $6::bytea[], $7::bytea[], $8::int8[], $9::bytea[], $10::text[],
        $11::timestamptz[], $12::text[]) AS d (at_offset)
    WHERE NOT EXISTS (
        SELECT FROM log_gaps
        WHERE position_id = $1 AND epoch = $2 AND from_offset = d.at_offset
          AND reason = $13)
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING"#;

/// Inserts the dead letters that are not there yet and were not pruned: a replay under the same epoch
/// repeats them.
pub(super) fn insert(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    batch: &Batch,
    letters: &[DeadLetter],
) -> Result<(), PgError> {
    if letters.is_empty() {
        return Ok(());
    }
    fn column<'l, T>(letters: &'l [DeadLetter], read: impl Fn(&'l DeadLetter) -> T) -> Vec<T> {
        letters.iter().map(read).collect()
    }
    statements.execute(
        client,
        INSERT,
        &[
            &batch.position_id,
            &batch.epoch,
            &batch.topic,
            &batch.partition,
            &column(letters, |letter| letter.offset),
            &column(letters, |letter| letter.key.as_deref()),
            &column(letters, kept_payload),
            &column(letters, payload_bytes),
            &column(letters, payload_digest),
            &column(letters, |letter| letter.order_uid.as_deref()),
            &column(letters, |letter| Micros(letter.accepted_at_us)),
            &column(letters, |letter| letter.reason.as_str()),
            &PRUNED,
        ],
    )?;
    Ok(())
}
