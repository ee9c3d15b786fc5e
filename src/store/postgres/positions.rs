//! Position rows: acquiring a partition, committing where it starts, and finding its owner.

use std::sync::LazyLock;

use ::postgres::{Client, Error as PgError, GenericClient, Row};

use super::statements::Statements;
use crate::pipeline::LastApplied;
use crate::store::apply::{Advanced, OwnedPosition};
use crate::store::position_sql::PositionSql;
use crate::store::{Batch, Claim, Holder, Position, StartDecision, StoreError};

pub(super) static SQL: LazyLock<PositionSql> = LazyLock::new(|| {
    let since = r#"to_char(taken_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"#;
    PositionSql::new('$', "now()", since)
});

/// Ends the session of the consumer that keeps a position row locked in an open transaction. The
/// row's xmax is that transaction; it is rolled back, so the new owner applies its batch.
const TERMINATE_HOLDER: &str = "
    SELECT pg_terminate_backend(a.pid)
    FROM log_positions p JOIN pg_stat_activity a ON a.backend_xid = p.xmax
    WHERE p.log_id = $1 AND p.partition = $2
      AND a.application_name = 'orders' AND a.pid <> pg_backend_pid()";

/// Writes the claim's owner to the position row, and returns the row.
pub(super) fn acquire(client: &mut Client, claim: &Claim) -> Result<Option<Position>, StoreError> {
    let Claim {
        log_id,
        partition,
        owner,
        group,
        host,
    } = claim;
    let row = client.query_opt(
        SQL.acquire.as_str(),
        &[log_id, partition, owner, group, host],
    );
    let acquired = row
        .map(|row| row.as_ref().map(position))
        .map_err(StoreError::from);
    if let Err(StoreError::Contended(_)) = acquired {
        terminate_holder(client, claim);
    }
    acquired
}

/// A former owner that is frozen inside a COPY keeps the row locked without limit: no timeout of
/// the server applies there. This consumer owns the partition now, and everything that the former
/// owner has not committed would be fenced anyway.
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

/// Moves the position past the batch; `None` when it did not.
pub(super) fn advance(
    client: &mut impl GenericClient,
    statements: &mut Statements,
    batch: &Batch,
) -> Result<Option<Advanced>, PgError> {
    let last = batch.last_applied.as_ref();
    let moved = statements.query(
        client,
        &SQL.advance,
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
    Ok(moved.first().map(|row| Advanced {
        has_erasures: row.get(0),
    }))
}

/// Inserts the row or moves it; `None` when another owner has acquired it, or it is elsewhere.
pub(super) fn upsert(
    client: &mut impl GenericClient,
    claim: &Claim,
    decision: &StartDecision,
) -> Result<Option<Position>, PgError> {
    let (from_epoch, from_offset) = decision.from.unzip();
    let row = client.query_opt(
        SQL.upsert.as_str(),
        &[
            &claim.log_id,
            &claim.partition,
            &decision.topic_id.as_str(),
            &decision.epoch,
            &decision.next_offset,
            &claim.owner,
            &claim.group,
            &claim.host,
            &from_epoch,
            &from_offset,
        ],
    )?;
    Ok(row.as_ref().map(position))
}

/// Reads the position row of a partition.
pub(super) fn find(
    client: &mut impl GenericClient,
    log_id: &str,
    partition: i32,
) -> Result<Option<OwnedPosition>, PgError> {
    let row = client.query_opt(SQL.find.as_str(), &[&log_id, &partition])?;
    Ok(row.as_ref().map(owned_position))
}

/// Reads the position row with this id.
pub(super) fn find_by_id(
    client: &mut impl GenericClient,
    id: i64,
) -> Result<Option<OwnedPosition>, PgError> {
    let row = client.query_opt(SQL.find_by_id.as_str(), &[&id])?;
    Ok(row.as_ref().map(owned_position))
}

/// Reads a row of [`PositionSql`], without its owner.
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

pub(super) fn owned_position(row: &Row) -> OwnedPosition {
    OwnedPosition {
        position: position(row),
        owner: row.get(7),
        holder: Holder {
            group: row.get(8),
            host: row.get(9),
            since: row.get(10),
        },
    }
}
