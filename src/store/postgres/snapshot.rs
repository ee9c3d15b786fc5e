//! A snapshot of everything stored: read-only transactions of two connections, as long as it is kept.
//!
//! Meanwhile PostgreSQL cannot vacuum rows that were replaced since they began.

use std::ops::ControlFlow;

use ::postgres::Row;
use ::postgres::types::ToSql;

use super::micros::Micros;
use super::schema::NO_TIMEOUTS;
use super::{PostgresStore, pages, positions};
use crate::order::{Order, Timestamp};
use crate::store::{Position, Snapshot, StoreError, StoredDeadLetter};

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

const COUNTS: &str = "
    SELECT (SELECT count(*) FROM orders),
           (SELECT count(*) FROM dead_letters WHERE resolution IS NULL)";

/// One at a time: each may hold 16 MiB.
const NEXT_LETTER: &str = r#"
    SELECT id, topic, partition, "offset", key, payload, payload_bytes, payload_sha256, order_uid,
           accepted_at, reason, dead_at
    FROM dead_letters WHERE id > $1 AND resolution IS NULL ORDER BY id LIMIT 1"#;

const EXPORT: &str = "SELECT pg_export_snapshot()";

/// Two connections, each inside its one transaction.
pub(super) struct PostgresSnapshot {
    main: PostgresStore,
    /// Reads items alone.
    items: PostgresStore,
}

impl PostgresSnapshot {
    pub(super) fn begin(
        mut main: PostgresStore,
        mut items: PostgresStore,
    ) -> Result<PostgresSnapshot, StoreError> {
        for store in [&mut main, &mut items] {
            // The reader of an export may be slow.
            store.client.execute(NO_TIMEOUTS, &[])?;
            store.client.batch_execute(BEGIN)?;
        }
        let snapshot: String = main.client.query_one(EXPORT, &[])?.get(0);
        let snapshot = snapshot.replace('\'', "''");
        let import = format!("SET TRANSACTION SNAPSHOT '{snapshot}'");
        items.client.batch_execute(&import)?;
        Ok(PostgresSnapshot { main, items })
    }

    fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let PostgresStore {
            client, statements, ..
        } = &mut self.main;
        Ok(statements.query(client, sql, parameters)?)
    }
}

impl Snapshot for PostgresSnapshot {
    fn positions(&mut self, log_id: &str) -> Result<Vec<Position>, StoreError> {
        let rows = self.query(&positions::SQL.of_log, &[&log_id])?;
        Ok(rows.iter().map(positions::position).collect())
    }

    fn counts(&mut self) -> Result<(u64, u64), StoreError> {
        let rows = self.query(COUNTS, &[])?;
        let count = |column| {
            let count: i64 = rows[0].get(column);
            count.unsigned_abs()
        };
        Ok((count(0), count(1)))
    }

    fn for_each_order(
        &mut self,
        visit: &mut dyn FnMut(Order) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        pages::for_each_order(&mut self.main, &mut self.items, visit)
    }

    fn for_each_dead_letter(
        &mut self,
        visit: &mut dyn FnMut(StoredDeadLetter) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut last = i64::MIN;
        while let Some(row) = self.query(NEXT_LETTER, &[&last])?.first() {
            last = row.get(0);
            if visit(letter(row)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads the columns of [`NEXT_LETTER`].
pub(super) fn letter(row: &Row) -> StoredDeadLetter {
    let timestamp = |column| Timestamp::from_micros(row.get::<_, Micros>(column).0);
    StoredDeadLetter {
        topic: row.get(1),
        partition: row.get(2),
        offset: row.get(3),
        key: row.get(4),
        payload: row.get(5),
        payload_bytes: row.get(6),
        payload_sha256: row.get(7),
        order_uid: row.get(8),
        accepted_at: timestamp(9),
        reason: row.get(10),
        dead_at: timestamp(11),
    }
}
