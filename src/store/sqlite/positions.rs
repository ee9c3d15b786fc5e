//! Positions: taking a partition, settling where it starts, and telling who has it.
//!
//! The statements are PostgreSQL's in SQLite's words. The surprising thing: nobody ever has to be
//! thrown out here. A frozen process keeps its file lock only while it writes, and that lock is the
//! kernel's.

use super::*;

const TAKE: &str = "
    UPDATE log_positions
    SET owner = ?3, owner_group = ?4, owner_host = ?5,
        taken_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
    WHERE log_id = ?1 AND partition = ?2";

/// Inserts the row or moves it; a row that another owner has taken meanwhile is left alone. The
/// record at the tail belongs to its epoch.
const SETTLE: &str = "
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
    WHERE log_positions.owner = excluded.owner";

const POSITION: &str = "
    SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE log_id = ?1 AND partition = ?2";

const HOLDER: &str = "
    SELECT owner, owner_group, owner_host, substr(taken_at, 1, 19) || 'Z'
    FROM log_positions WHERE log_id = ?1 AND partition = ?2";

/// The gap of a settlement, which is written again when the answer to its COMMIT was lost: one epoch
/// passes the same gap only once.
const SETTLE_GAP: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (
        SELECT 1 FROM log_gaps
        WHERE position_id = ?1 AND epoch = ?2 AND from_offset = ?3 AND to_offset IS ?4
          AND reason = ?5)";

impl SqliteStore {
    pub(super) fn acquire_position(
        &mut self,
        claim: &Claim,
    ) -> Result<Option<Position>, StoreError> {
        self.writing(|transaction| {
            transaction.prepare_cached(TAKE)?.execute(params![
                claim.log_id,
                claim.partition,
                claim.owner.to_string(),
                claim.group,
                claim.host,
            ])?;
            let taken = find(&transaction, &claim.log_id, claim.partition)?;
            transaction.commit()?;
            Ok(taken)
        })
    }

    pub(super) fn write_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        self.writing(|transaction| {
            let settled = transaction.prepare_cached(SETTLE)?.execute(params![
                claim.log_id,
                claim.partition,
                decision.topic_id.as_str(),
                decision.epoch,
                decision.next_offset,
                claim.owner.to_string(),
                claim.group,
                claim.host,
            ])?;
            let position = find(&transaction, &claim.log_id, claim.partition)?;
            let (1, Some(position)) = (settled, position) else {
                let holder = holder(&transaction, claim)?;
                return Err(Failure::Store(StoreError::Fenced(holder)));
            };
            if let Some(gap) = &decision.gap {
                transaction.prepare_cached(SETTLE_GAP)?.execute(params![
                    position.id,
                    decision.epoch,
                    gap.from,
                    gap.to,
                    gap.reason
                ])?;
            }
            transaction.commit()?;
            Ok(position)
        })
    }

    pub(super) fn read_position(
        &mut self,
        log_id: &str,
        partition: i32,
    ) -> Result<Option<Position>, StoreError> {
        self.reading(|transaction| Ok(find(transaction, log_id, partition)?))
    }

    pub(super) fn read_holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        self.reading(|transaction| Ok(holder(transaction, claim)?))
    }
}

fn find(
    connection: &Connection,
    log_id: &str,
    partition: i32,
) -> Result<Option<Position>, SqliteError> {
    connection
        .prepare_cached(POSITION)?
        .query_row(params![log_id, partition], position)
        .optional()
}

fn holder(connection: &Connection, claim: &Claim) -> Result<Option<Holder>, SqliteError> {
    let held = connection
        .prepare_cached(HOLDER)?
        .query_row(params![claim.log_id, claim.partition], |row| {
            let owner: String = row.get(0)?;
            let holder = Holder {
                group: row.get(1)?,
                host: row.get(2)?,
                since: row.get(3)?,
            };
            Ok((owner, holder))
        })
        .optional()?;
    let ours = claim.owner.to_string();
    Ok(held
        .filter(|(owner, _)| *owner != ours)
        .map(|(_, holder)| holder))
}

/// Reads the seven columns of a position, in the order of [`POSITION`].
fn position(row: &Row<'_>) -> Result<Position, SqliteError> {
    let digest: Option<Vec<u8>> = row.get(6)?;
    Ok(Position {
        id: row.get(0)?,
        topic_id: row.get::<_, String>(1)?.into(),
        partition: row.get(2)?,
        epoch: row.get(3)?,
        next_offset: row.get(4)?,
        last_applied: LastApplied::from_columns(row.get(5)?, digest.as_deref()),
    })
}
