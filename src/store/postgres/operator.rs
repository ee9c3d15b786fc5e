//! What the operators' commands ask of PostgreSQL, and do to it.

use std::sync::LazyLock;

use ::postgres::Row;
use ::postgres::types::ToSql;

use super::micros::Micros;
use super::{PostgresStore, positions, schema};
use crate::order::Timestamp;
use crate::store::operator::overview::{OPEN_DEAD_LETTERS, Overview};
use crate::store::operator::{
    Change, GapAcceptance, Gaps, ListedOrder, MovePositions, OperatorStore, OrderFilter, OrderList,
    PositionMove, Positions, RecordedGap,
};
use crate::store::operator_sql::{self, Condition, OperatorSql, POSTGRES};
use crate::store::{AppliedMigration, Gap, OwnedPosition, Position, StoreError};

mod accounting;
mod dead_letters;
mod erasures;
mod reapply;
mod tracing;

static SQL: LazyLock<OperatorSql> = LazyLock::new(|| OperatorSql::new(&POSTGRES, "FOR UPDATE"));

impl OperatorStore for PostgresStore {
    fn applied_migrations(&mut self) -> Result<Vec<AppliedMigration>, StoreError> {
        schema::history(&mut self.client)
    }
}

impl Overview for PostgresStore {
    fn engine_version(&mut self) -> Result<String, StoreError> {
        let row = self.client.query_one("SHOW server_version", &[])?;
        // A distribution adds its own version.
        let version = row.get::<_, &str>(0).split(' ').next().unwrap_or_default();
        Ok(format!("PostgreSQL {version}"))
    }

    fn open_dead_letters(&mut self) -> Result<(u64, Timestamp), StoreError> {
        let row = self.client.query_one(OPEN_DEAD_LETTERS, &[])?;
        let count: i64 = row.get(0);
        Ok((count.unsigned_abs(), timestamp(&row, 1)))
    }
}

impl Positions for PostgresStore {
    fn positions(&mut self, log_id: &str) -> Result<Vec<OwnedPosition>, StoreError> {
        let rows = self
            .statements
            .query(&mut self.client, &positions::SQL.of_log, &[&log_id])?;
        let mut positions: Vec<_> = rows.iter().map(positions::owned_position).collect();
        positions.sort_by_key(|owned| owned.position.partition);
        Ok(positions)
    }

    fn accepted_gaps(&mut self, position: &Position) -> Result<Vec<(i64, i64)>, StoreError> {
        let rows = self
            .client
            .query(&SQL.accepted, &[&position.id, &position.epoch])?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }
}

impl MovePositions for PostgresStore {
    fn move_back(
        &mut self,
        moves: &[PositionMove],
        change: &Change<'_>,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let mut transaction = self.client.transaction()?;
        let mut before = Vec::with_capacity(moves.len());
        for to in moves {
            let topic_id = to.topic_id.as_str();
            let found =
                transaction.query_opt(&SQL.find_next, &[&to.log_id, &to.partition, &topic_id])?;
            let last = to.last_applied.as_ref();
            let moved = transaction.execute(
                &SQL.move_back,
                &[
                    &to.log_id,
                    &to.partition,
                    &topic_id,
                    &to.next_offset,
                    &last.map(|last| last.offset),
                    &last.map(|last| last.digest.as_slice()),
                    &change.by,
                    &change.why,
                ],
            )?;
            before.push(found.filter(|_| moved == 1).map(|row| row.get(0)));
        }
        transaction.simple_query("SELECT 1")?;
        transaction.commit()?;
        Ok(before)
    }
}

impl Gaps for PostgresStore {
    fn recorded_gaps(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<Vec<RecordedGap>, StoreError> {
        let rows = self
            .client
            .query(&SQL.recorded_gaps, &[&log_id, &bounded(limit)])?;
        let gap = |row: &Row| RecordedGap {
            partition: row.get(0),
            epoch: row.get(1),
            gap: Gap {
                from: row.get(2),
                to: row.get(3),
                reason: row.get(4),
            },
            noted_at: timestamp(row, 5),
        };
        Ok(rows.iter().map(gap).collect())
    }

    fn gap_acceptances(
        &mut self,
        log_id: &str,
        limit: usize,
    ) -> Result<Vec<GapAcceptance>, StoreError> {
        let rows = self
            .client
            .query(&SQL.acceptances, &[&log_id, &bounded(limit)])?;
        let acceptance = |row: &Row| GapAcceptance {
            partition: row.get(0),
            epoch: row.get(1),
            from: row.get(2),
            to: row.get(3),
            accepted_at: timestamp(row, 4),
            accepted_by: row.get(5),
            why: row.get(6),
        };
        Ok(rows.iter().map(acceptance).collect())
    }

    fn accept_gap(
        &mut self,
        position: &Position,
        from: i64,
        to: i64,
        change: &Change<'_>,
    ) -> Result<bool, StoreError> {
        let inserted = self.client.execute(
            &SQL.accept,
            &[
                &position.id,
                &position.epoch,
                &from,
                &to,
                &change.by,
                &change.why,
            ],
        )?;
        Ok(inserted == 1)
    }
}

impl OrderList for PostgresStore {
    fn list_orders(&mut self, filter: &OrderFilter) -> Result<Vec<ListedOrder>, StoreError> {
        let conditions = operator_sql::conditions(filter);
        let sql = operator_sql::list_orders(&POSTGRES, &conditions);
        let parameter = |condition: &Condition<'_>| -> Box<dyn ToSql + Sync> {
            match condition {
                Condition::Customer(text) | Condition::Track(text) => Box::new((*text).to_owned()),
                Condition::Since(micros) | Condition::Until(micros) => Box::new(Micros(*micros)),
            }
        };
        let mut parameters: Vec<_> = conditions.iter().map(parameter).collect();
        parameters.push(Box::new(bounded(filter.limit)));
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(AsRef::as_ref).collect();
        let rows = self.client.query(&sql, &parameters)?;
        let order = |row: &Row| ListedOrder {
            order_uid: row.get(0),
            track_number: row.get(1),
            customer_id: row.get(2),
            delivery_service: row.get(3),
            amount: row.get(4),
            currency: row.get(5),
            items: row.get(6),
            date_created: timestamp(row, 7),
            accepted_at: timestamp(row, 8),
        };
        Ok(rows.iter().map(order).collect())
    }
}

fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn timestamp(row: &Row, column: usize) -> Timestamp {
    let micros: Option<Micros> = row.get(column);
    micros.map_or(Timestamp(None), |micros| Timestamp::from_micros(micros.0))
}
