//! Positions: taking a partition, settling where it starts, and telling who has it.

use super::*;

const TAKE: &str = "
    UPDATE log_positions
    SET owner = $3, owner_group = $4, owner_host = $5, taken_at = now()
    WHERE log_id = $1 AND partition = $2
    RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest";

/// Ends the session of the program that keeps a position row locked in an open transaction. The
/// row's xmax is that transaction; it is rolled back, so its batch is applied by the new owner.
const END_HOLDER: &str = "
    SELECT pg_terminate_backend(a.pid)
    FROM log_positions p JOIN pg_stat_activity a ON a.backend_xid = p.xmax
    WHERE p.log_id = $1 AND p.partition = $2
      AND a.application_name = 'orders' AND a.pid <> pg_backend_pid()";

/// Inserts the row or moves it; a row that another owner has taken meanwhile is left alone. The
/// record at the tail belongs to its epoch.
const SETTLE: &str = "
    INSERT INTO log_positions
        (log_id, partition, topic_id, epoch, next_offset, owner, owner_group, owner_host)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (log_id, partition) DO UPDATE
    SET topic_id = EXCLUDED.topic_id,
        epoch = EXCLUDED.epoch,
        next_offset = EXCLUDED.next_offset,
        tail_offset = CASE WHEN log_positions.epoch = EXCLUDED.epoch
            THEN log_positions.tail_offset END,
        tail_digest = CASE WHEN log_positions.epoch = EXCLUDED.epoch
            THEN log_positions.tail_digest END
    WHERE log_positions.owner = EXCLUDED.owner
    RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest";

const POSITION: &str = "
    SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE log_id = $1 AND partition = $2";

const HOLDER: &str = r#"
    SELECT owner, owner_group, owner_host,
           to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM log_positions WHERE log_id = $1 AND partition = $2"#;

pub(super) const INSERT_GAPS: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1, $2, g.* FROM unnest($3::int8[], $4::int8[], $5::text[]) AS g";

/// The gap of a settlement, which is written again when the answer to its COMMIT was lost: one epoch
/// passes the same gap only once.
const SETTLE_GAP: &str = "
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT $1::int8, $2::int4, $3::int8, $4::int8, $5::text
    WHERE NOT EXISTS (
        SELECT FROM log_gaps
        WHERE position_id = $1 AND epoch = $2 AND from_offset = $3
          AND to_offset IS NOT DISTINCT FROM $4 AND reason = $5)";

impl PostgresStore {
    pub(super) fn acquire_position(
        &mut self,
        claim: &Claim,
    ) -> Result<Option<Position>, StoreError> {
        let taken = self
            .client
            .query_opt(
                TAKE,
                &[
                    &claim.log_id,
                    &claim.partition,
                    &claim.owner,
                    &claim.group,
                    &claim.host,
                ],
            )
            .map(|row| row.as_ref().map(position))
            .map_err(|error| classify(&error));
        if let Err(StoreError::Contended(_)) = taken {
            self.end_holder(claim);
        }
        taken
    }

    /// A former owner that is frozen inside its transaction keeps the row for ever when that stands
    /// in a COPY: no timeout of the server counts there. The partition is ours now, and whatever
    /// was not committed until here would be fenced anyway.
    fn end_holder(&mut self, claim: &Claim) {
        let ended = self
            .client
            .query(END_HOLDER, &[&claim.log_id, &claim.partition]);
        match ended {
            Ok(sessions) if sessions.is_empty() => {}
            Ok(_) => tracing::warn!(
                partition = claim.partition,
                "ended the database session of a former owner that kept the position locked"
            ),
            // Another role's session: the take is repeated until it ends by itself.
            Err(error) => tracing::debug!("the session in the way was not ended: {error}"),
        }
    }

    pub(super) fn write_start(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Position, StoreError> {
        let settled = self
            .try_settle(claim, decision)
            .map_err(|error| classify(&error))?;
        match settled {
            Some(position) => Ok(position),
            None => Err(self.fenced(claim)?),
        }
    }

    fn try_settle(
        &mut self,
        claim: &Claim,
        decision: &StartDecision,
    ) -> Result<Option<Position>, PgError> {
        let mut transaction = self.client.transaction()?;
        let row = transaction.query_opt(
            SETTLE,
            &[
                &claim.log_id,
                &claim.partition,
                &decision.topic_id.as_str(),
                &decision.epoch,
                &decision.next_offset,
                &claim.owner,
                &claim.group,
                &claim.host,
            ],
        )?;
        let Some(settled) = row.as_ref().map(position) else {
            return Ok(None);
        };
        if let Some(gap) = &decision.gap {
            transaction.execute(
                SETTLE_GAP,
                &[
                    &settled.id,
                    &decision.epoch,
                    &gap.from,
                    &gap.to,
                    &gap.reason,
                ],
            )?;
        }
        // Fails where the transaction is already lost; COMMIT alone would answer Ok.
        transaction.simple_query("SELECT 1")?;
        transaction.commit()?;
        Ok(Some(settled))
    }

    pub(super) fn read_position(
        &mut self,
        log_id: &str,
        partition: i32,
    ) -> Result<Option<Position>, StoreError> {
        self.client
            .query_opt(POSITION, &[&log_id, &partition])
            .map(|row| row.as_ref().map(position))
            .map_err(|error| classify(&error))
    }

    pub(super) fn read_holder(&mut self, claim: &Claim) -> Result<Option<Holder>, StoreError> {
        let row = self
            .client
            .query_opt(HOLDER, &[&claim.log_id, &claim.partition])
            .map_err(|error| classify(&error))?;
        Ok(row
            .filter(|row| row.get::<_, Uuid>(0) != claim.owner)
            .map(|row| Holder {
                group: row.get(1),
                host: row.get(2),
                since: row.get(3),
            }))
    }

    fn fenced(&mut self, claim: &Claim) -> Result<StoreError, StoreError> {
        Ok(match self.read_holder(claim)? {
            Some(holder) => StoreError::Fenced(Some(holder)),
            None => StoreError::Contended("the position row changed while it was taken".into()),
        })
    }
}

/// Reads the seven columns of a position, in the order of [`POSITION`].
pub(super) fn position(row: &Row) -> Position {
    Position {
        id: row.get(0),
        topic_id: row.get::<_, &str>(1).into(),
        partition: row.get(2),
        epoch: row.get(3),
        next_offset: row.get(4),
        last_applied: LastApplied::from_columns(row.get(5), row.get(6)),
    }
}
