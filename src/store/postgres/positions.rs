//! Position rows: acquiring a partition, committing where it starts, and finding its owner.

use ::postgres::{Client, Error as PgError, GenericClient, Row};
use uuid::Uuid;

use super::statements::Statements;
use crate::pipeline::LastApplied;
use crate::store::apply::OwnedPosition;
use crate::store::{Batch, Claim, Holder, Position, StartDecision, StoreError};

const ACQUIRE: &str = "
    UPDATE log_positions
    SET owner = $3, owner_group = $4, owner_host = $5, taken_at = now()
    WHERE log_id = $1 AND partition = $2
    RETURNING id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest";

/// Ends the session of the consumer that keeps a position row locked in an open transaction. The
/// row's xmax is that transaction; it is rolled back, so the new owner applies its batch.
const TERMINATE_HOLDER: &str = "
    SELECT pg_terminate_backend(a.pid)
    FROM log_positions p JOIN pg_stat_activity a ON a.backend_xid = p.xmax
    WHERE p.log_id = $1 AND p.partition = $2
      AND a.application_name = 'orders' AND a.pid <> pg_backend_pid()";

/// Moves the position from `start` to `end` if this owner still has it and it is still at `start`.
const ADVANCE: &str = "
    UPDATE log_positions
    SET next_offset = $4, tail_offset = COALESCE($5, tail_offset),
        tail_digest = COALESCE($6, tail_digest)
    WHERE id = $1 AND owner = $2 AND epoch = $3 AND next_offset = $7";

const OWNED_POSITION: &str = r#"
    SELECT owner, owner_group, owner_host,
           to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE id = $1"#;

/// Inserts the row or moves it; leaves a row alone that another owner has acquired. The last applied
/// record belongs to its epoch.
const UPSERT_POSITION: &str = "
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

const FIND: &str = "
    SELECT id, topic_id, partition, epoch, next_offset, tail_offset, tail_digest
    FROM log_positions WHERE log_id = $1 AND partition = $2";

const HOLDER: &str = r#"
    SELECT owner, owner_group, owner_host,
           to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    FROM log_positions WHERE log_id = $1 AND partition = $2"#;

/// Writes the claim's owner to the position row, and returns the row.
pub(super) fn acquire(client: &mut Client, claim: &Claim) -> Result<Option<Position>, StoreError> {
    let Claim {
        log_id,
        partition,
        owner,
        group,
        host,
    } = claim;
    let row = client.query_opt(ACQUIRE, &[log_id, partition, owner, group, host]);
    let acquired = row
        .map(|row| row.as_ref().map(position))
        .map_err(StoreError::from);
    if let Err(StoreError::Contended(_)) = acquired {
        terminate_holder(client, claim);
    }
    acquired
}

/// A former owner that is frozen inside a COPY keeps the row locked for ever: no timeout of the server
/// applies there. This consumer owns the partition now, and everything that the former owner has not
/// committed would be fenced anyway.
fn terminate_holder(client: &mut Client, claim: &Claim) {
    let terminated = client.query(TERMINATE_HOLDER, &[&claim.log_id, &claim.partition]);
    match terminated {
        Ok(sessions) if sessions.is_empty() => {}
        Ok(_) => tracing::warn!(
            partition = claim.partition,
            "terminated the database session of a former owner that kept the position locked"
        ),
        // The session of another role: acquiring is retried until it ends by itself.
        Err(error) => tracing::debug!("the blocking session was not terminated: {error}"),
    }
}

/// Moves the position past the batch; whether it did.
pub(super) fn advance(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    batch: &Batch,
) -> Result<bool, PgError> {
    let last = batch.last_applied.as_ref();
    let moved = statements.execute(
        client,
        ADVANCE,
        &[
            &batch.position_id,
            &batch.owner,
            &batch.epoch,
            &batch.end,
            &last.map(|last| last.offset),
            &last.map(|last| last.digest.as_slice()),
            &batch.start,
        ],
    )?;
    Ok(moved == 1)
}

/// Reads the position row of a batch with its owner.
pub(super) fn owned(
    client: &mut impl GenericClient,
    position_id: i64,
) -> Result<Option<OwnedPosition>, PgError> {
    let row = client.query_opt(OWNED_POSITION, &[&position_id])?;
    Ok(row.map(|row| OwnedPosition {
        owner: row.get(0),
        holder: read_holder(&row),
        epoch: row.get(4),
        next_offset: row.get(5),
        last_applied: LastApplied::from_columns(row.get(6), row.get(7)),
    }))
}

/// Inserts the row or moves it; `None` when another owner has acquired it.
pub(super) fn upsert(
    client: &mut impl GenericClient,
    claim: &Claim,
    decision: &StartDecision,
) -> Result<Option<Position>, PgError> {
    let row = client.query_opt(
        UPSERT_POSITION,
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
    Ok(row.as_ref().map(position))
}

/// Reads the position row of a partition.
pub(super) fn find(
    client: &mut impl GenericClient,
    log_id: &str,
    partition: i32,
) -> Result<Option<Position>, PgError> {
    let row = client.query_opt(FIND, &[&log_id, &partition])?;
    Ok(row.as_ref().map(position))
}

/// Returns the owner of the claim's partition; `None` when the claim owns it.
pub(super) fn holder(
    client: &mut impl GenericClient,
    claim: &Claim,
) -> Result<Option<Holder>, PgError> {
    let row = client.query_opt(HOLDER, &[&claim.log_id, &claim.partition])?;
    let other = row.filter(|row| row.get::<_, Uuid>(0) != claim.owner);
    Ok(other.as_ref().map(read_holder))
}

fn read_holder(row: &Row) -> Holder {
    Holder {
        group: row.get(1),
        host: row.get(2),
        since: row.get(3),
    }
}

/// Reads the seven columns of a position, in the order of [`FIND`].
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
