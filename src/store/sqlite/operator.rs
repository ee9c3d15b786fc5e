//! What the operators' commands ask of a SQLite file, and do to it.

use std::sync::LazyLock;

use rusqlite::types::Value;
use rusqlite::{Error as SqliteError, OptionalExtension, Params, Row, params, params_from_iter};

use super::lookup::timestamp;
use super::{SqliteStore, positions, timestamp_text};
use crate::order::Timestamp;
use crate::store::apply::{WriteConnection, WriteTransaction};
use crate::store::operator::overview::{OPEN_DEAD_LETTERS, Overview};
use crate::store::operator::{
    Change, GapAcceptance, Gaps, ListedOrder, MovePositions, OperatorStore, OrderFilter, OrderList,
    PositionMove, Positions, RecordedGap,
};
use crate::store::operator_sql::{self, Condition, OperatorSql, SQLITE};
use crate::store::{AppliedMigration, Gap, OrderStore, OwnedPosition, Position, StoreError};

mod accounting;
mod dead_letters;
mod erasures;
mod reapply;
mod tracing;

/// A write transaction locks the whole file.
static SQL: LazyLock<OperatorSql> = LazyLock::new(|| OperatorSql::new(&SQLITE, ""));

impl SqliteStore {
    /// Reads all rows of a query, in one snapshot.
    fn rows<T>(
        &mut self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, SqliteError>,
    ) -> Result<Vec<T>, StoreError> {
        self.reading(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            statement.query_map(parameters, read)?.collect()
        })
    }
}

impl OperatorStore for SqliteStore {
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        OrderStore::applied_migrations(self)
    }
}

impl Overview for SqliteStore {
    fn engine_version(&mut self) -> Result<String, StoreError> {
        Ok(format!("SQLite {}", rusqlite::version()))
    }

    fn open_dead_letters(&mut self) -> Result<(u64, Timestamp), StoreError> {
        self.reading(|transaction| {
            transaction.query_row(OPEN_DEAD_LETTERS, [], |row| {
                let count: i64 = row.get(0)?;
                Ok((count.unsigned_abs(), timestamp(row, 1)?))
            })
        })
    }
}

impl Positions for SqliteStore {
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError> {
        let mut positions =
            self.reading(|transaction| positions::owned_of_log(transaction, log_id))?;
        positions.sort_by_key(|owned| owned.position.partition);
        Ok(positions)
    }

    fn accepted_gaps(&mut self, position: &Position) -> Result<Vec<(i64, i64)>, StoreError> {
        let parameters = params![position.id, position.epoch];
        self.rows(&SQL.accepted, parameters, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
    }
}

impl MovePositions for SqliteStore {
    fn move_back(
        &mut self,
        moves: &[PositionMove],
        change: &Change<'_>,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let transaction = self.begin()?;
        let mut before = Vec::with_capacity(moves.len());
        for to in moves {
            let key = params![to.log_id, to.partition, to.topic_id.as_str()];
            let last = to.last_applied.as_ref();
            before.push(transaction.run(|connection| {
                let mut find = connection.prepare_cached(&SQL.find_next)?;
                let found = find.query_row(key, |row| row.get(0)).optional()?;
                let moved = connection.execute(
                    &SQL.move_back,
                    params![
                        to.log_id,
                        to.partition,
                        to.topic_id.as_str(),
                        to.next_offset,
                        last.map(|last| last.offset),
                        last.map(|last| last.digest),
                        change.by,
                        change.why,
                    ],
                )?;
                Ok(found.filter(|_| moved == 1))
            })?);
        }
        transaction.commit()?;
        Ok(before)
    }
}

impl Gaps for SqliteStore {
    fn recorded_gaps(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<Vec<RecordedGap>, StoreError> {
        self.rows(&SQL.recorded_gaps, params![log_id, bounded(limit)], |row| {
            Ok(RecordedGap {
                partition: row.get(0)?,
                epoch: row.get(1)?,
                gap: Gap {
                    from: row.get(2)?,
                    to: row.get(3)?,
                    reason: row.get(4)?,
                },
                noted_at: timestamp(row, 5)?,
            })
        })
    }

    fn gap_acceptances(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<Vec<GapAcceptance>, StoreError> {
        self.rows(&SQL.acceptances, params![log_id, bounded(limit)], |row| {
            Ok(GapAcceptance {
                partition: row.get(0)?,
                epoch: row.get(1)?,
                from: row.get(2)?,
                to: row.get(3)?,
                accepted_at: timestamp(row, 4)?,
                accepted_by: row.get(5)?,
                why: row.get(6)?,
            })
        })
    }

    fn accept_gap(
        &mut self,
        position: &Position,
        from: i64,
        to: i64,
        change: &Change<'_>,
    ) -> Result<bool, StoreError> {
        let transaction = self.begin()?;
        let parameters = params![position.id, position.epoch, from, to, change.by, change.why];
        let inserted = transaction.run(|connection| connection.execute(&SQL.accept, parameters))?;
        transaction.commit()?;
        Ok(inserted == 1)
    }
}

impl OrderList for SqliteStore {
    fn list_orders(&mut self, filter: &OrderFilter) -> Result<Vec<ListedOrder>, StoreError> {
        let conditions = operator_sql::conditions(filter);
        let sql = operator_sql::list_orders(&SQLITE, &conditions);
        let parameter = |condition: &Condition<'_>| match condition {
            Condition::Customer(text) | Condition::Track(text) => Value::from((*text).to_owned()),
            Condition::Since(micros) | Condition::Until(micros) => {
                Value::from(timestamp_text(*micros))
            }
        };
        let conditions = conditions.iter().map(parameter);
        let parameters = conditions.chain([Value::from(bounded(filter.limit))]);
        self.rows(&sql, params_from_iter(parameters), |row| {
            Ok(ListedOrder {
                order_uid: row.get(0)?,
                track_number: row.get(1)?,
                customer_id: row.get(2)?,
                delivery_service: row.get(3)?,
                amount: row.get(4)?,
                currency: row.get(5)?,
                items: row.get(6)?,
                date_created: timestamp(row, 7)?,
                accepted_at: timestamp(row, 8)?,
            })
        })
    }
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
