//! Gaps as rows.

use ::postgres::{Error as PgError, GenericClient};

use crate::store::{Batch, Gap, Position};

const INSERT: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1, $2, g.* FROM unnest($3::int8[], $4::int8[], $5::text[]) AS g";

const INSERT_ONCE: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1::int8, $2::int4, $3::int8, $4::int8, $5::text
    WHERE NOT EXISTS (
        SELECT FROM log_gaps
        WHERE position_id = $1 AND epoch = $2 AND from_offset = $3
          AND to_offset IS NOT DISTINCT FROM $4 AND reason = $5)";

/// Inserts the gaps of a batch.
pub(super) fn insert(client: &mut impl GenericClient, batch: &Batch) -> Result<(), PgError> {
    if batch.gaps.is_empty() {
        return Ok(());
    }
    let from: Vec<i64> = batch.gaps.iter().map(|gap| gap.from).collect();
    let to: Vec<Option<i64>> = batch.gaps.iter().map(|gap| gap.to).collect();
    let reasons: Vec<&str> = batch.gaps.iter().map(|gap| gap.reason.as_str()).collect();
    client.execute(
        INSERT,
        &[&batch.position_id, &batch.epoch, &from, &to, &reasons],
    )?;
    Ok(())
}

/// Inserts a gap unless its epoch has the same one.
pub(super) fn insert_once(
    client: &mut impl GenericClient,
    position: &Position,
    gap: &Gap,
) -> Result<(), PgError> {
    client.execute(
        INSERT_ONCE,
        &[
            &position.id,
            &position.epoch,
            &gap.from,
            &gap.to,
            &gap.reason,
        ],
    )?;
    Ok(())
}
