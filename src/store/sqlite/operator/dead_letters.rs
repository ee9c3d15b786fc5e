//! Dead letters in a SQLite file: lists, and the steps by which one is resolved.

use std::ops::ControlFlow;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Error as SqliteError, OptionalExtension, Row, ToSql, params, params_from_iter};

use super::super::lookup::timestamp;
use super::super::transaction::SqliteTransaction;
use super::super::{SqliteStore, snapshot, timestamp_text};
use crate::order::{Order, Timestamp};
use crate::store::apply::{WriteConnection, WriteTransaction};
use crate::store::operator::Change;
use crate::store::operator::dead_letter_sql::{Condition, Parameter, condition};
use crate::store::operator::dead_letters::{
    DeadLetterFilter, DeadLetterReason, DeadLetterSummary, DeadLetters, FoundDeadLetter,
    LockedDeadLetter, Mode, Outcome, Resolution, ResolveTransaction, Resolved, discard, retry,
};
use crate::store::rejections::PRUNED;
use crate::store::{DeadLetter, StoreError};

const FIND: &str = r#"
    SELECT topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at, resolution, resolved_at, resolved_by, resolved_why
    FROM dead_letters WHERE id = ?1"#;

const LOCK: &str = r#"
    SELECT position_id, epoch, topic, partition, "offset", key, order_uid, accepted_at, reason,
           resolution
    FROM dead_letters WHERE id = ?1"#;

const RESOLVE: &str = "
    UPDATE dead_letters
    SET resolution = ?2, resolved_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
        resolved_by = ?3, resolved_why = ?4
    WHERE id = ?1";

const COUNT_RESOLVED: &str =
    "SELECT count(*) FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < ?1";

/// The marks account for the records that no dead letter names any more; in one transaction with
/// [`PRUNE`], whose rows these are.
const MARK_PRUNED: &str = r#"
    INSERT INTO log_gaps (position_id, epoch, from_offset, to_offset, reason)
    SELECT position_id, epoch, "offset", "offset" + 1, ?3
    FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < ?1
    ORDER BY id LIMIT ?2"#;

const PRUNE: &str = "
    DELETE FROM dead_letters WHERE id IN (
        SELECT id FROM dead_letters WHERE resolution IS NOT NULL AND resolved_at < ?1
        ORDER BY id LIMIT ?2)";

impl DeadLetters for SqliteStore {
    /// Reads an index that holds these columns: the rows hold the payloads.
    fn for_each_reason(
        &mut self,
        filter: &DeadLetterFilter,
        visit: &mut dyn FnMut(DeadLetterReason) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let condition = of_filter(filter);
        let select = "SELECT id, reason, dead_at FROM dead_letters WHERE";
        let sql = format!("{select} {}", condition.sql);
        self.reading(|transaction| {
            let mut statement = transaction.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(condition.parameters))?;
            while let Some(row) = rows.next()? {
                let reason = DeadLetterReason {
                    id: row.get(0)?,
                    reason: row.get(1)?,
                    dead_at: timestamp(row, 2)?,
                };
                if visit(reason).is_break() {
                    break;
                }
            }
            Ok(())
        })
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
            FROM dead_letters WHERE {} AND id > ?{after} ORDER BY id LIMIT ?{limit}"#,
            condition.sql
        );
        self.reading(|transaction| {
            let mut statement = transaction.prepare(&sql)?;
            let parameters = params_from_iter(condition.parameters);
            statement.query_map(parameters, summary)?.collect()
        })
    }

    fn dead_letter(&mut self, id: i64) -> Result<Option<FoundDeadLetter>, StoreError> {
        self.reading(|transaction| {
            let found = transaction.query_row(FIND, [id], |row| {
                Ok(FoundDeadLetter {
                    id,
                    letter: snapshot::letter(row)?,
                    resolved: resolved(row)?,
                })
            });
            found.optional()
        })
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
        let before = timestamp_text(before.0.unwrap_or(i64::MIN));
        self.reading(|transaction| {
            let count = |row: &Row<'_>| row.get(0).map(i64::unsigned_abs);
            transaction.query_row(COUNT_RESOLVED, [before], count)
        })
    }

    fn prune_dead_letters(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let before = timestamp_text(before.0.unwrap_or(i64::MIN));
        let transaction = self.begin()?;
        let deleted = transaction.run(|connection| {
            connection.execute(MARK_PRUNED, params![before, limit, PRUNED])?;
            connection.execute(PRUNE, params![before, limit])
        })?;
        transaction.commit()?;
        Ok(deleted as u64)
    }
}

/// The transaction has locked the whole file.
impl ResolveTransaction for SqliteTransaction<'_> {
    fn lock_dead_letter(&mut self, id: i64) -> Result<Option<LockedDeadLetter>, StoreError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(LOCK)?;
            statement.query_row([id], locked).optional()
        })
    }

    fn resolve_dead_letter(
        &mut self,
        id: i64,
        resolution: Resolution,
        change: &Change<'_>,
    ) -> Result<(), StoreError> {
        self.run(|connection| {
            let parameters = params![id, resolution.name(), change.by, change.why];
            connection.prepare_cached(RESOLVE)?.execute(parameters)?;
            Ok(())
        })
    }
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Parameter::Text(text) => ToSqlOutput::from(text),
            Parameter::Bytes(bytes) => ToSqlOutput::from(bytes),
            Parameter::Int(number) => ToSqlOutput::from(number),
            Parameter::BigInt(number) => ToSqlOutput::from(number),
            Parameter::Timestamp(micros) => ToSqlOutput::from(timestamp_text(micros)),
        })
    }
}

fn of_filter(filter: &DeadLetterFilter) -> Condition<'_> {
    condition(filter, '?', |n| format!("key = {n}"))
}

fn locked(row: &Row<'_>) -> Result<LockedDeadLetter, SqliteError> {
    Ok(LockedDeadLetter {
        position_id: row.get(0)?,
        epoch: row.get(1)?,
        topic: row.get(2)?,
        partition: row.get(3)?,
        letter: DeadLetter {
            offset: row.get(4)?,
            key: row.get::<_, Option<Vec<u8>>>(5)?.map(Into::into),
            payload: None,
            accepted_at_us: timestamp(row, 7)?.0.unwrap_or_default(),
            order_uid: row.get(6)?,
            reason: row.get(8)?,
        },
        resolution: row.get(9)?,
    })
}

fn summary(row: &Row<'_>) -> Result<DeadLetterSummary, SqliteError> {
    Ok(DeadLetterSummary {
        id: row.get(0)?,
        topic: row.get(1)?,
        partition: row.get(2)?,
        offset: row.get(3)?,
        key: row.get(4)?,
        order_uid: row.get(5)?,
        reason: row.get(6)?,
        dead_at: timestamp(row, 7)?,
        resolution: row.get(8)?,
    })
}

fn resolved(row: &Row<'_>) -> Result<Option<Resolved>, SqliteError> {
    let Some(resolution) = row.get(11)? else {
        return Ok(None);
    };
    Ok(Some(Resolved {
        resolution,
        at: timestamp(row, 12)?,
        by: row.get::<_, Option<String>>(13)?.unwrap_or_default(),
        why: row.get::<_, Option<String>>(14)?.unwrap_or_default(),
    }))
}
