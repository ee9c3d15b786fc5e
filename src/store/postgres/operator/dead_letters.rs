//! Dead letters on PostgreSQL: lists, and the steps by which one is resolved.

use std::ops::ControlFlow;

use ::postgres::Row;
use ::postgres::fallible_iterator::FallibleIterator as _;
use ::postgres::types::ToSql;

use super::super::micros::Micros;
use super::super::transaction::PostgresTransaction;
use super::super::{PostgresStore, snapshot};
use super::erasures::LOCK_POSITIONS;
use crate::order::{Order, Timestamp};
use crate::store::apply::WriteConnection;
use crate::store::operator::Change;
use crate::store::operator::dead_letter_sql::{Condition, Parameter, condition};
use crate::store::operator::dead_letters::{
    DeadLetterFilter, DeadLetterReason, DeadLetterSummary, DeadLetters, FoundDeadLetter,
    LockedDeadLetter, Mode, Outcome, Resolution, ResolveTransaction, Resolved, discard, retry,
};
use crate::store::rejections::PRUNED;
use crate::store::{DeadLetter, StoreError};

const FIND: &str = r#"
    SELECT id, topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at, resolution, resolved_at, resolved_by, resolved_why
    FROM dead_letters WHERE id = $1"#;

const POSITION: &str = "SELECT position_id FROM dead_letters WHERE id = $1";

/// Conflicts with the UPDATE of a batch and of an erasure.
const LOCK_POSITION: &str = "SELECT FROM log_positions WHERE id = $1 FOR SHARE";

const LOCK: &str = r#"
    SELECT position_id, epoch, topic, partition, "offset", key, order_uid, accepted_at, reason,
           resolution
    FROM dead_letters WHERE id = $1 FOR UPDATE"#;

const RESOLVE: &str = "
    UPDATE dead_letters
    SET resolution = $2, resolved_at = now(), resolved_by = $3, resolved_why = $4
    WHERE id = $1";

const COUNT_RESOLVED: &str =
    "SELECT count(*) FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < $1";

/// The marks account for the records that no dead letter names any more.
const PRUNE: &str = r#"
    WITH pruned AS (
        DELETE FROM dead_letters WHERE id IN (
            SELECT id FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < $1
            ORDER BY id LIMIT $2)
        RETURNING position_id, epoch, "offset")
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT position_id, epoch, "offset", "offset" + 1, $3::text FROM pruned"#;

impl DeadLetters for PostgresStore {
    fn for_each_reason(
        &mut self,
        filter: &DeadLetterFilter,
        visit: &mut dyn FnMut(DeadLetterReason) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let condition = of_filter(filter);
        let select = "SELECT id, reason, dead_at FROM dead_letters WHERE";
        let sql = format!("{select} {}", condition.sql);
        let parameters = bound(&condition);
        let mut rows = self.client.query_raw(&sql, references(&parameters))?;
        while let Some(row) = rows.next()? {
            let reason = DeadLetterReason {
                id: row.get(0),
                reason: row.get(1),
                dead_at: timestamp(&row, 2),
            };
            if visit(reason).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn dead_letters(
        &mut self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetterSummary>, StoreError> {
        let mut condition = of_filter(filter);
        let after = condition.bind(Parameter::BigInt(after));
        let limit = condition.bind(Parameter::BigInt(limit.into()));
        let sql = format!(
            r#"SELECT id, topic, partition, "offset", substr(key, 1, 1024), order_uid, reason, dead_at,
                resolution
            FROM dead_letters WHERE {} AND id > ${after} ORDER BY id LIMIT ${limit}"#,
            condition.sql
        );
        let parameters = bound(&condition);
        let parameters: Vec<_> = references(&parameters).collect();
        let rows = self.client.query(&sql, &parameters)?;
        Ok(rows.iter().map(summary).collect())
    }

    fn dead_letter(&mut self, id: i64) -> Result<Option<FoundDeadLetter>, StoreError> {
        let found = self.client.query_opt(FIND, &[&id])?;
        Ok(found.map(|row| FoundDeadLetter {
            id,
            letter: snapshot::letter(&row),
            resolved: resolved(&row),
        }))
    }

    fn retry_dead_letter(
        &mut self,
        id: i64,
        order: &Order,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Outcome, StoreError> {
        retry(self.begin()?, id, order, change, mode)
    }

    fn discard_dead_letter(
        &mut self,
        id: i64,
        change: &Change<'_>,
        mode: Mode,
    ) -> Result<Outcome, StoreError> {
        discard(self.begin()?, id, change, mode)
    }

    fn count_resolved_before(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let before = Micros(before.0.unwrap_or(i64::MIN));
        count(&self.client.query_one(COUNT_RESOLVED, &[&before])?)
    }

    fn prune_dead_letters(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let before = Micros(before.0.unwrap_or(i64::MIN));
        let mut transaction = self.client.transaction()?;
        // A batch that replays these records comes wholly before the marks, or sees them: else it could
        // insert a dead letter whose deletion it had waited for.
        transaction.batch_execute(LOCK_POSITIONS)?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&before, &i64::from(limit), &PRUNED];
        let deleted = transaction.execute(PRUNE, &parameters)?;
        transaction.commit()?;
        Ok(deleted)
    }
}

impl ResolveTransaction for PostgresTransaction<'_> {
    fn lock_dead_letter(&mut self, id: i64) -> Result<Option<LockedDeadLetter>, StoreError> {
        let (client, statements) = (&mut self.transaction, &mut *self.statements);
        let found = statements.query(client, POSITION, &[&id])?;
        let Some(position_id) = found.first().map(|row| row.get::<_, i64>(0)) else {
            return Ok(None);
        };
        statements.query(client, LOCK_POSITION, &[&position_id])?;
        let locked = statements.query(client, LOCK, &[&id])?;
        Ok(locked.first().map(|row| LockedDeadLetter {
            position_id: row.get(0),
            epoch: row.get(1),
            topic: row.get(2),
            partition: row.get(3),
            letter: DeadLetter {
                offset: row.get(4),
                key: row.get::<_, Option<Vec<u8>>>(5).map(Into::into),
                payload: None,
                accepted_at_us: row.get::<_, Micros>(7).0,
                order_uid: row.get(6),
                reason: row.get(8),
            },
            resolution: row.get(9),
        }))
    }

    fn resolve_dead_letter(
        &mut self,
        id: i64,
        resolution: Resolution,
        change: &Change<'_>,
    ) -> Result<(), StoreError> {
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&id, &resolution.name(), &change.by, &change.why];
        self.statements
            .execute(&mut self.transaction, RESOLVE, &parameters)?;
        Ok(())
    }
}

/// The digest is what the index holds.
fn of_filter(filter: &DeadLetterFilter) -> Condition<'_> {
    condition(filter, '$', |n| {
        format!("sha256(key) = sha256({n}) AND key = {n}")
    })
}

fn bound<'a>(condition: &Condition<'a>) -> Vec<Box<dyn ToSql + Sync + 'a>> {
    let bind = |parameter: &Parameter<'a>| -> Box<dyn ToSql + Sync + 'a> {
        match *parameter {
            Parameter::Text(text) => Box::new(text),
            Parameter::Bytes(bytes) => Box::new(bytes),
            Parameter::Int(number) => Box::new(number),
            Parameter::BigInt(number) => Box::new(number),
            Parameter::Timestamp(micros) => Box::new(Micros(micros)),
        }
    };
    condition.parameters.iter().map(bind).collect()
}

fn references<'a>(
    bound: &'a [Box<dyn ToSql + Sync + 'a>],
) -> impl ExactSizeIterator<Item = &'a (dyn ToSql + Sync)> {
    bound.iter().map(|it| &**it as &(dyn ToSql + Sync))
}

fn count(row: &Row) -> Result<u64, StoreError> {
    let count: i64 = row.get(0);
    Ok(count.unsigned_abs())
}

fn timestamp(row: &Row, column: usize) -> Timestamp {
    let micros: Option<Micros> = row.get(column);
    micros.map_or(Timestamp(None), |it| Timestamp::from_micros(it.0))
}

fn summary(row: &Row) -> DeadLetterSummary {
    DeadLetterSummary {
        id: row.get(0),
        topic: row.get(1),
        partition: row.get(2),
        offset: row.get(3),
        key: row.get(4),
        order_uid: row.get(5),
        reason: row.get(6),
        dead_at: timestamp(row, 7),
        resolution: row.get(8),
    }
}

fn resolved(row: &Row) -> Option<Resolved> {
    Some(Resolved {
        resolution: row.get::<_, Option<String>>(12)?,
        at: timestamp(row, 13),
        by: row.get::<_, Option<String>>(14).unwrap_or_default(),
        why: row.get::<_, Option<String>>(15).unwrap_or_default(),
    })
}
