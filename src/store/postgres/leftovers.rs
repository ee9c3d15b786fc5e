//! What a batch leaves besides orders: its dead letters and the gaps it passed.

use super::apply::Failure;
use super::*;
use crate::store::rejections::{Rejected, dead_letters, kept_payload, payload_digest};

/// A replay meets its own dead letters again only under the same epoch.
const INSERT_DEAD_LETTERS: &str = r#"
    INSERT INTO dead_letters (position_id, epoch, topic, partition, "offset", key, payload,
        payload_bytes, payload_sha256, order_uid, accepted_at, reason)
    SELECT $1, $2, $3, $4, d.*
    FROM unnest($5::int8[], $6::bytea[], $7::bytea[], $8::int8[], $9::bytea[], $10::text[],
        $11::timestamptz[], $12::text[]) AS d
    ON CONFLICT (position_id, epoch, "offset") DO NOTHING"#;

pub(super) fn insert_dead_letters(
    transaction: &mut Transaction<'_>,
    statements: &mut Statements,
    batch: &Batch,
    refused: &Rejected<'_>,
) -> Result<(), Failure> {
    let letters = dead_letters(batch, refused);
    if letters.is_empty() {
        return Ok(());
    }
    let column = |read: fn(&DeadLetter) -> i64| -> Vec<i64> { letters.iter().map(read).collect() };
    let keys: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.key.as_deref()).collect();
    let payloads: Vec<Option<&[u8]>> = letters.iter().map(kept_payload).collect();
    let digests: Vec<Option<Vec<u8>>> = letters.iter().map(payload_digest).collect();
    let uids: Vec<Option<&str>> = letters
        .iter()
        .map(|letter| letter.order_uid.as_deref())
        .collect();
    let accepted: Vec<Micros> = letters
        .iter()
        .map(|letter| Micros(letter.accepted_at_us))
        .collect();
    let reasons: Vec<&str> = letters
        .iter()
        .map(|letter| letter.reason.as_str())
        .collect();
    let statement = statements.get(transaction, INSERT_DEAD_LETTERS)?;
    transaction.execute(
        &statement,
        &[
            &batch.position_id,
            &batch.epoch,
            &batch.topic,
            &batch.partition,
            &column(|letter| letter.offset),
            &keys,
            &payloads,
            &column(|letter| {
                letter
                    .payload
                    .as_ref()
                    .map_or(0, |payload| payload.len() as i64)
            }),
            &digests,
            &uids,
            &accepted,
            &reasons,
        ],
    )?;
    Ok(())
}

pub(super) fn insert_gaps(transaction: &mut Transaction<'_>, batch: &Batch) -> Result<(), Failure> {
    if batch.gaps.is_empty() {
        return Ok(());
    }
    let from: Vec<i64> = batch.gaps.iter().map(|gap| gap.from).collect();
    let to: Vec<Option<i64>> = batch.gaps.iter().map(|gap| gap.to).collect();
    let reasons: Vec<&str> = batch.gaps.iter().map(|gap| gap.reason.as_str()).collect();
    transaction.execute(
        positions::INSERT_GAPS,
        &[&batch.position_id, &batch.epoch, &from, &to, &reasons],
    )?;
    Ok(())
}
